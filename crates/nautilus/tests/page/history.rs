//! The page's history in a real browser, over a month of which every value is known.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use nautilus_agent::hub::EventHub;
use nautilus_agent::page::{self, Board};
use nautilus_core::UnixMillis;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::keep_picture;
use crate::month::{Month, Outage, RESTARTED};
use crate::webdriver::Browser;

const ARROW_RIGHT: &str = "\u{e014}";
const ENTER: &str = "\u{e007}";
const DRAWN: &str = "document.querySelector('[data-testid=metrics]').dataset.state === 'drawn'";

/// The node's server with nothing of a node behind it but a board.
struct Served {
    url: String,
    board: Arc<Board>,
    _runtime: Runtime,
}

impl Served {
    fn start() -> Result<Self> {
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("http://{}/", listener.local_addr()?);
        let board = Arc::new(Board::new());
        let routes = page::guarded(page::router(Arc::new(EventHub::new()), Arc::clone(&board)));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Ok(Self {
            url,
            board,
            _runtime: runtime,
        })
    }
}

fn month() -> Result<Month> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(Month::until(UnixMillis(u64::try_from(now.as_millis())?)))
}

#[test]
fn a_month_is_drawn_as_it_was() -> Result<()> {
    let served = Served::start()?;
    let month = month()?;
    let (missed, night) = (month.when(Outage::MISSED), month.when(Outage::NIGHT));
    let restarted = month.when(Outage(RESTARTED, 0)).0;
    served.board.open(Arc::new(month));
    let browser = Browser::start()?;
    browser.set_viewport(1360, 900)?;
    browser.open(&served.url)?;
    browser.wait_until("the system is drawn", DRAWN)?;
    let story = (|| {
        the_system_is_drawn_first(&browser)?;
        a_gap_tells_why(&browser, missed)?;
        ranges_are_switched_by_keyboard(&browser, night)?;
        a_pod_is_found_and_drawn(&browser, restarted)?;
        a_family_is_looked_at_alone(&browser)?;
        every_width_holds_every_view(&browser)?;
        let errors = browser.console_errors()?;
        ensure!(
            errors == Vec::<String>::new(),
            "the console has errors: {errors:?}"
        );
        Ok(())
    })();
    keep_picture(&browser, "history-last")?;
    story
}

fn the_system_is_drawn_first(browser: &Browser) -> Result<()> {
    let plots = ids(browser)?;
    let first = [
        "nautilus_cpu_usage_ratio",
        "nautilus_memory_usage_ratio",
        "nautilus_load_average",
        "nautilus_network_receive_bytes+nautilus_network_transmit_bytes",
    ];
    ensure!(plots.get(..4).is_some_and(|plots| plots == first), "{plots:?}");
    for plot in &plots {
        let drawn = browser.run(&format!(
            "return [...document.querySelectorAll('[data-plot=\"{plot}\"] [data-testid=history-line]')]
                .reduce((sum, line) => sum + Number(line.dataset.points), 0)"
        ))?;
        ensure!(drawn.as_u64() >= Some(20), "{plot} has {drawn} points");
    }
    // Load has three series, each a legend of its own; processors are a share, bytes a rate, memory in binary units.
    ensure!(values(browser, "nautilus_load_average")?.len() == 3);
    for (plot, unit) in [
        ("nautilus_cpu_usage_ratio", " %"),
        (
            "nautilus_network_receive_bytes+nautilus_network_transmit_bytes",
            " MB/s",
        ),
        ("nautilus_memory_available_bytes", " GiB"),
        ("nautilus_context_switches", "/s"),
        ("nautilus_uptime_seconds", " d"),
    ] {
        for value in values(browser, plot)? {
            ensure!(
                value.ends_with(unit) && value.starts_with(|first: char| first.is_ascii_digit()),
                "{plot} is now {value:?}"
            );
        }
    }
    Ok(())
}

fn a_gap_tells_why(browser: &Browser, (start, end): (u64, u64)) -> Result<()> {
    let drawn = browser.run(
        "return [...document.querySelectorAll('[data-plot=\"nautilus_cpu_usage_ratio\"] [data-testid=history-gap]')]
            .map((gap) => [gap.dataset.reason, Number(gap.dataset.from), Number(gap.dataset.to)])",
    )?;
    ensure!(drawn == json!([["missed", start, end]]), "{drawn}");
    no_gap_is_bridged(browser)?;
    ensure!(browser.find("[data-testid=gap-count]")?.text()? == "1 gap in this time");
    browser.run("document.querySelector('[data-testid=gap-mark]').focus()")?;
    let told = browser.find("[data-testid=gap-note]")?.text()?;
    ensure!(
        told.contains("(3 min): The node ran and did not measure."),
        "{told}"
    );
    let item = "return document.querySelector('[data-testid=gap-item]').textContent";
    ensure!(browser.run(item)? == json!(told), "the list tells something else");
    let hovered = "return document.querySelector('[data-testid=history-gap] title').textContent";
    ensure!(
        browser.run(hovered)? == json!(told),
        "the plot tells something else"
    );
    // With the pointer in it, there is no value.
    ensure!(values(browser, "nautilus_cpu_usage_ratio")? == ["–"]);
    Ok(())
}

fn ranges_are_switched_by_keyboard(browser: &Browser, (start, end): (u64, u64)) -> Result<()> {
    for (range, points) in [("1h", 100), ("24h", 280), ("7d", 150), ("30d", 700)] {
        let checked = "[name=metrics-range]:checked";
        browser.find(checked)?.type_keys(ARROW_RIGHT)?;
        ensure!(browser.find(checked)?.attribute("value")?.as_deref() == Some(range));
        browser.wait_until(&format!("{range} is drawn"), DRAWN)?;
        let drawn = browser.run(
            "return [...document.querySelectorAll('[data-plot=\"nautilus_cpu_usage_ratio\"] [data-testid=history-line]')]
                .reduce((sum, line) => sum + Number(line.dataset.points), 0)",
        )?;
        ensure!(drawn.as_u64() >= Some(points), "{range} has {drawn} points");
        no_gap_is_bridged(browser)?;
        let bands = browser
            .find_all("[data-plot='nautilus_cpu_usage_ratio'] .band")?
            .len();
        ensure!(
            (bands > 0) == (range != "1h"),
            "{range} has {bands} bands of lowest and highest"
        );
        keep_picture(browser, &format!("history-{range}"))?;
    }
    let night = browser.run(
        "return [...document.querySelectorAll('[data-plot=\"nautilus_cpu_usage_ratio\"] [data-reason=not_running]')]
            .map((gap) => [Number(gap.dataset.from), Number(gap.dataset.to)])",
    )?;
    ensure!(night == json!([[start, end]]), "{night}");
    // A collector's gap is a gap of its part alone.
    let stalled = browser.find_all("[data-reason=stalled]")?.len();
    ensure!(stalled == 0, "a gap of the network is drawn for the system");
    Ok(())
}

fn a_pod_is_found_and_drawn(browser: &Browser, restarted: u64) -> Result<()> {
    browser.run("document.querySelector('[name=metrics-range][value=live]').click()")?;
    browser.find("[data-testid=metrics-search]")?.type_keys("web-0")?;
    let found = browser.find_all("[data-testid=metrics-choice]")?;
    ensure!(found.first().context("a pod is found")?.text()? == "shop/web-0");
    browser.find("[data-testid=metrics-search]")?.type_keys(ENTER)?;
    browser.wait_until(
        "the pod is drawn",
        &format!(
            "{DRAWN} && document.querySelector('[data-testid=metrics-view]').textContent === 'shop/web-0'"
        ),
    )?;
    let plots = ids(browser)?;
    ensure!(
        plots
            == [
                "nautilus_pod_cpu_usage_seconds",
                "nautilus_pod_memory_working_set_bytes",
                "nautilus_pod_network_receive_bytes+nautilus_pod_network_transmit_bytes",
                "nautilus_pod_restarts",
            ],
        "{plots:?}"
    );
    let processor = values(browser, "nautilus_pod_cpu_usage_seconds")?;
    ensure!(
        processor.iter().all(|value| value.ends_with(" cores")),
        "{processor:?}"
    );
    // The counter began again at zero: no rate goes over that, and none is below zero.
    let over = browser.run(&format!(
        "return [...document.querySelectorAll('[data-plot=nautilus_pod_cpu_usage_seconds] [data-testid=history-line]')]
            .filter((line) => line.dataset.from < {restarted} && line.dataset.to >= {restarted}).length"
    ))?;
    ensure!(over == 0, "{over} lines go over the restart");
    let label = browser
        .find("[data-plot=nautilus_pod_cpu_usage_seconds] svg")?
        .attribute("aria-label")?
        .context("a plot is told in words")?;
    ensure!(label.contains("lowest 0.") && !label.contains('−'), "{label}");
    no_gap_is_bridged(browser)?;
    let export = browser.find("[data-testid=export-csv]")?.attribute("href")?;
    let export = export.context("there is something to export")?;
    ensure!(
        export.contains("web-0") && export.contains("format=csv"),
        "{export}"
    );
    keep_picture(browser, "history-pod")
}

fn a_family_is_looked_at_alone(browser: &Browser) -> Result<()> {
    browser
        .find("[data-testid=metrics-search]")?
        .type_keys("pod memory")?;
    browser.find("[data-testid=metrics-search]")?.type_keys(ENTER)?;
    browser.wait_until(
        "the family is drawn",
        &format!("{DRAWN} && document.querySelectorAll('[data-testid=series-row]').length === 8"),
    )?;
    let pressed = "[data-testid=series-toggle][aria-pressed=true]";
    ensure!(browser.find_all(pressed)?.len() == 6, "six of eight are drawn");
    // One goes, and another comes in its place.
    browser.find(pressed)?.click()?;
    ensure!(browser.find_all(pressed)?.len() == 5);
    browser
        .find("[data-testid=series-toggle][aria-pressed=false]:enabled")?
        .click()?;
    ensure!(browser.find_all(pressed)?.len() == 6);
    // A plot is read by keyboard, point by point.
    let before = browser.find("[data-testid=metrics-note]")?.text()?;
    browser
        .find("[data-testid=history-plot] svg")?
        .type_keys("\u{e012}\u{e012}")?;
    let after = browser.find("[data-testid=metrics-note]")?.text()?;
    ensure!(
        before.starts_with("Until") && after.starts_with("At "),
        "{before:?}, then {after:?}"
    );
    Ok(())
}

fn every_width_holds_every_view(browser: &Browser) -> Result<()> {
    for (name, width, colours) in [
        ("wide", 1360, "light"),
        ("dark", 1360, "dark"),
        ("narrow", 390, "light"),
        ("narrow-dark", 390, "dark"),
    ] {
        browser.set_viewport(width, 900)?;
        browser.prefer_colours(colours)?;
        for (view, shown) in [
            ("system", json!({ "kind": "part", "part": "system" })),
            ("pods", json!({ "kind": "part", "part": "container" })),
            (
                "pod",
                json!({ "kind": "pod", "namespace": "shop", "pod": "web-0" }),
            ),
            (
                "family",
                json!({ "kind": "family", "family": "nautilus_pod_cpu_usage_seconds" }),
            ),
        ] {
            choose(browser, &shown)?;
            let overhang = browser
                .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")?;
            ensure!(overhang == 0, "{view} at {width} pixels is {overhang} too wide");
            let spilt = browser.run(
                "const box = document.querySelector('[data-testid=metrics]').getBoundingClientRect();
                 return [...document.querySelectorAll('[data-testid=metrics] *')]
                    .filter((one) => one.checkVisibility() && !one.closest('.unseen, svg'))
                    .filter((one) => one.getBoundingClientRect().right > box.right + 0.5)
                    .map((one) => one.className)",
            )?;
            ensure!(
                spilt == json!([]),
                "{view} at {width} pixels does not hold {spilt}"
            );
            let (top, block) = if view == "family" {
                ("series-table", "center")
            } else {
                ("metrics", "start")
            };
            browser.run(&format!(
                "document.querySelector('[data-testid={top}]').scrollIntoView({{ block: '{block}' }})"
            ))?;
            keep_picture(browser, &format!("history-{view}-{name}"))?;
        }
    }
    browser.set_viewport(1360, 900)
}

/// Clicks what is to be shown, whether or not it is in sight, and waits until it is drawn.
fn choose(browser: &Browser, view: &Value) -> Result<()> {
    let wanted = view.to_string();
    browser.run(
        "
        const search = document.querySelector('[data-testid=metrics-search]');
        search.value = '';
        search.dispatchEvent(new Event('input'));",
    )?;
    browser.run(&format!(
        "const wanted = JSON.stringify(Object.entries({wanted}).sort());
         const same = (one) => JSON.stringify(Object.entries(JSON.parse(one.dataset.view)).sort()) === wanted;
         [...document.querySelectorAll('[data-testid=metrics-choice]')].find(same).click();"
    ))?;
    browser.wait_until(&format!("{wanted} is drawn"), DRAWN)
}

/// No line has a point before a gap of its plot and one after it.
fn no_gap_is_bridged(browser: &Browser) -> Result<()> {
    let bridged = browser.run(
        "return [...document.querySelectorAll('[data-testid=history-plot]')].flatMap((plot) => {
            const gaps = [...plot.querySelectorAll('[data-testid=history-gap]')];
            const lines = [...plot.querySelectorAll('[data-testid=history-line]')];
            return lines
                .filter(({ dataset: line }) => gaps.some(({ dataset: gap }) =>
                    Number(line.from) < Number(gap.to) && Number(line.to) > Number(gap.from) && Number(line.points) > 1))
                .map(() => plot.dataset.plot);
        })",
    )?;
    ensure!(bridged == json!([]), "a line goes over a gap in {bridged}");
    Ok(())
}

fn ids(browser: &Browser) -> Result<Vec<String>> {
    let plots = browser.find_all("[data-testid=history-plot]")?;
    plots
        .iter()
        .map(|plot| plot.attribute("data-plot")?.context("a plot has a name"))
        .collect()
}

/// What a plot's legend says.
fn values(browser: &Browser, plot: &str) -> Result<Vec<String>> {
    let found = browser.find_all(&format!("[data-plot='{plot}'] [data-testid=history-value]"))?;
    found.iter().map(|value| value.text()).collect()
}

#[test]
fn a_store_that_is_not_there_is_told_of_in_words() -> Result<()> {
    let served = Served::start()?;
    let browser = Browser::start()?;
    browser.set_viewport(1360, 900)?;
    browser.open(&served.url)?;
    // What is out of sight is not asked for again.
    browser.run("document.querySelector('[data-testid=metrics]').scrollIntoView()")?;
    let message = "document.querySelector('[data-testid=metrics-message]')";
    let says =
        |words: &str| format!("{message}.checkVisibility() && {message}.textContent.includes('{words}')");
    browser.wait_until(
        "the page says that nothing is there yet",
        &says("There is no history yet"),
    )?;
    served.board.lock("no key of epoch 2 is here".to_owned());
    browser.wait_until(
        "the page says that the store is locked",
        &says("The store is locked: no key of epoch 2 is here."),
    )?;
    keep_picture(&browser, "history-locked")?;
    served.board.open(Arc::new(month()?));
    browser.wait_until(
        "the page shows what is there",
        &format!("{DRAWN} && {message}.hidden"),
    )
}

/// What the page computes, called with what a test makes up.
#[test]
fn curves_and_units_are_computed_right() -> Result<()> {
    let served = Served::start()?;
    let browser = Browser::start()?;
    browser.open(&served.url)?;
    for (what, computed, expected) in CASES {
        let script = format!(
            "return Promise.all(['curves', 'units', 'series', 'gaps', 'history'].map((name) => import(`/assets/${{name}}.js`)))
                .then(([curves, units, series, gaps, history]) => {computed})"
        );
        let expected: Value = serde_json::from_str(expected).with_context(|| (*expected).to_owned())?;
        let found = browser.run(&script).with_context(|| (*what).to_owned())?;
        ensure!(found == expected, "{what}: {found}, not {expected}");
    }
    Ok(())
}

const CASES: [(&str, &str, &str); 18] = [
    (
        "a counter is a rate a second",
        "curves.curveOf({kind: 'counter', points: [[0, 5], [10000, 25], [20000, 25]]}, 'raw', []).points.map(({value}) => value)",
        "[null, 2, 0]",
    ),
    (
        "a counter that began anew has no rate",
        "curves.curveOf({kind: 'counter', points: [[0, 90], [1000, 95], [2000, 1], [3000, 4]]}, 'raw', []).points.map(({value}) => value)",
        "[null, 5, null, 3]",
    ),
    (
        "no rate goes over a gap",
        "curves.curveOf({kind: 'counter', points: [[0, 1], [1000, 2], [2000, 9], [3000, 10]]}, 'raw', [{start: 1000, end: 2000, reason: 'missed'}]).points.map(({value}) => value)",
        "[null, 1, null, 1]",
    ),
    (
        "a line ends at a gap",
        "curves.curveOf({kind: 'gauge', points: [[0, 1], [1000, 2], [2000, 3], [3000, 4]]}, 'raw', [{start: 1200, end: 1900, reason: 'failed'}]).runs.map((run) => run.map(({at}) => at))",
        "[[0, 1000], [2000, 3000]]",
    ),
    (
        "a long gap before other gaps still counts",
        "curves.joins([{at: 0}, {at: 10}, {at: 20}, {at: 30}], 100, [{start: 2, end: 25}, {start: 3, end: 4}])",
        "[false, false, false, false]",
    ),
    (
        "what was measured in part does not end a line",
        "curves.curveOf({kind: 'gauge', points: [[0, 1], [1000, 2]]}, 'raw', [{start: 0, end: 1000, reason: 'truncated'}]).runs.length",
        "1",
    ),
    (
        "missing points end a line without a gap to tell of it",
        "curves.curveOf({kind: 'gauge', points: [[0, 1], [1000, 2], [2000, 3], [9000, 4], [10000, 5]]}, 'raw', []).runs.map((run) => run.length)",
        "[3, 2]",
    ),
    (
        "a slower pace is no hole but once",
        "curves.curveOf({kind: 'gauge', points: [[0, 1], [1000, 2], [2000, 3], [3000, 3], [4000, 3], [34000, 4], [64000, 5]]}, 'raw', []).runs.map((run) => run.length)",
        "[5, 2]",
    ),
    (
        "a rollup stands in its middle, with its lowest and highest",
        "curves.curveOf({kind: 'gauge', points: [[3600000, 1, 2, 4], [7200000, 2, 3, 5], [14400000, 1, 1, 1]]}, '1h', []).runs",
        r#"[[{"at":5400000,"low":1,"value":2,"high":4},{"at":9000000,"low":2,"value":3,"high":5}],[{"at":16200000,"low":1,"value":1,"high":1}]]"#,
    ),
    (
        "a rolled-up counter grows by what its highest does, and a reset has no rate",
        "curves.curveOf({kind: 'counter', points: [[0, 0, 100, 300], [300000, 310, 400, 600], [600000, 3, 500, 900], [900000, 910, 950, 1200]]}, '5m', []).points.map(({value}) => value)",
        "[null, 1, null, 1]",
    ),
    (
        "of an hour that is not over there is a rate of what was measured",
        "curves.curveOf({kind: 'counter', points: [[0, 0, 1, 3600], [3600000, 3601, 4000, 6000], [7200000, 6001, 6005, 6010]]}, '1h', [], 7210000).points.map(({value}) => value)",
        "[null, 0.6666666666666666, null]",
    ),
    (
        "gaps of one reason that touch are one, and none reaches out of the range",
        "curves.mergedGaps([{start: 5, end: 9, reason: 'missed', collector: null, detail: ''}, {start: 0, end: 5, reason: 'missed', collector: null, detail: ''}, {start: 6, end: 50, reason: 'failed', collector: 'network', detail: 'x'}], 2, 20).map(({start, end, reason}) => [start, end, reason])",
        r#"[[2, 9, "missed"], [6, 20, "failed"]]"#,
    ),
    (
        "ticks are round times of the day",
        "curves.timeTicks(new Date(2026, 0, 5, 10, 7).getTime(), new Date(2026, 0, 5, 11, 7).getTime(), 7).times.map((at) => new Date(at).getMinutes())",
        "[10, 20, 30, 40, 50, 0]",
    ),
    (
        "units are written as people write them",
        "[['ratio', 0.4213], ['ratio', 0], ['bytes', 7730941132], ['bytes', 12], ['seconds', 0.0213], ['seconds', 90], ['seconds', 864000], ['', 12345], ['', 3], ['ratio', null]].map(([unit, value]) => units.unitOf({unit, kind: 'gauge', family: 'x'}).write(value))",
        r#"["42.1 %", "0 %", "7.20 GiB", "12 B", "21.3 ms", "90 s", "10 d", "12.3 k", "3", "–"]"#,
    ),
    (
        "rates are written as rates",
        "[['bytes', 'a_bytes', 3200000], ['seconds', 'pod_cpu_usage_seconds', 0.25], ['', 'context_switches', 5200]].map(([unit, family, value]) => units.unitOf({unit, family, kind: 'counter'}).write(value))",
        r#"["3.20 MB/s", "0.25 cores", "5.20 k/s"]"#,
    ),
    (
        "an axis ends at a round number of its unit",
        "[units.nice(0.37), units.nice(1), units.niceBinary(3 * 1024 ** 3), units.niceBinary(700 * 1024)]",
        "[0.4, 1, 4294967296, 1048576]",
    ),
    (
        "labels in a selector are escaped",
        r#"series.selectorOf('a', {pod: 'x"y\\z'})"#,
        r#""a{pod=\"x\\\"y\\\\z\"}""#,
    ),
    (
        "pieces of an answer are one answer",
        "history.joined([{resolution: 'raw', series: [{name: 'a', points: [[1, 1]]}], gaps: [], faults: [], truncated: false}, {resolution: 'raw', series: [{name: 'a', points: [[2, 2]]}, {name: 'b', points: []}], gaps: [], faults: [], truncated: true}])",
        r#"{"resolution":"raw","series":[{"name":"a","points":[[1,1],[2,2]]},{"name":"b","points":[]}],"gaps":[],"faults":[],"truncated":true}"#,
    ),
];
