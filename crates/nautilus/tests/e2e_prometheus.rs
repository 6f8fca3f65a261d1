//! Metrics as a real Prometheus takes them: the exposition, the alerts and the dashboard in `deploy/`, and a node that is
//! scraped.

#[cfg(test)]
#[path = "prometheus/dashboard.rs"]
mod dashboard;
#[cfg(test)]
#[path = "prometheus/exposition.rs"]
mod exposition;
#[cfg(test)]
#[path = "prometheus/names.rs"]
mod names;
#[cfg(test)]
#[expect(dead_code, reason = "the suites share it")]
#[path = "support/node.rs"]
mod node;
#[cfg(test)]
#[expect(dead_code, reason = "no test here runs the program to its end")]
#[path = "support/program.rs"]
mod program;
#[cfg(test)]
#[path = "prometheus/rules.rs"]
mod rules;
#[cfg(test)]
#[path = "prometheus/scrape.rs"]
mod scrape;
#[cfg(test)]
#[path = "prometheus/server.rs"]
mod server;
#[cfg(test)]
#[path = "prometheus/tools.rs"]
mod tools;
