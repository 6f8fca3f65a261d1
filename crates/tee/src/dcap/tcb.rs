//! The verdict on the platform, and which component falls short of what.

use std::cmp::Ordering;
use std::sync::OnceLock;

use dcap_qvl::tcb_info::{TdxModuleIdentity, TdxModuleTcbLevel};
use dcap_qvl::{
    QeIdentity, QuoteClaims, QuoteCollateralV3, SvnComponent, SvnShortfall, TcbInfo, TcbLevel,
    TcbStatus as Status,
};
use nautilus_core::{Shortfall, Tcb, TcbStatus};
use serde::Deserialize;

use super::chain::Platform;

/// Which TCB level a platform is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Newest,
    Lowest,
}

/// Security versions of the platform and of its quoting enclave.
pub(super) struct Versions<'a> {
    pub platform: &'a Platform,
    /// `TEE_TCB_SVN`, and where the report has it `TEE_TCB_SVN2`; empty for SGX.
    pub tee_tcb_svns: &'a [[u8; 16]],
    /// ISVSVN of the quoting enclave.
    pub qe_isv_svn: u16,
}

/// The vendor's verdict, from claims that `dcap-qvl` verified.
pub(super) fn verdict(claims: &QuoteClaims, shortfalls: Vec<Shortfall>) -> Tcb {
    Tcb {
        status: Some(status(claims.tcb.status)),
        date: Some(claims.platform.tcb_level.tcb_date.clone()),
        advisories: claims.tcb.advisory_ids.clone(),
        evaluation: Some(claims.tcb.eval_data_number),
        shortfalls,
        other_evaluations: Vec::new(),
    }
}

/// The levels of one collateral document. What cannot be read has none.
pub(super) struct Levels {
    tcb_info: Option<TcbInfo>,
    text: String,
    names: OnceLock<Names>,
    identity: Option<QeIdentity>,
}

impl Levels {
    pub(super) fn read(collateral: &QuoteCollateralV3) -> Self {
        Self {
            tcb_info: serde_json::from_str(&collateral.tcb_info).ok(),
            text: collateral.tcb_info.clone(),
            names: OnceLock::new(),
            identity: serde_json::from_str(&collateral.qe_identity).ok(),
        }
    }

    /// What is missing to the newest or the lowest level: of the platform, the TDX module, and the quoting
    /// enclave. Call it only on collateral whose signatures were verified.
    pub(super) fn shortfalls(&self, versions: &Versions<'_>, level: Level) -> Vec<Shortfall> {
        let mut all = Vec::new();
        if let Some(tcb_info) = &self.tcb_info {
            self.platform_shortfalls(tcb_info, versions, level, &mut all);
        }
        if let Some(identity) = &self.identity {
            all.extend(quoting_enclave_shortfall(identity, versions.qe_isv_svn, level));
        }
        all
    }

    fn platform_shortfalls(
        &self,
        tcb_info: &TcbInfo,
        versions: &Versions<'_>,
        level: Level,
        all: &mut Vec<Shortfall>,
    ) {
        let pck = &versions.platform.pck;
        // Of a TD that has seen an update, what it was launched with, then what it has now.
        let launched_and_now = || versions.tee_tcb_svns.iter().zip(["", " now"]);
        if let Some((index, missed)) =
            pick(tcb_info.tcb_levels.iter().enumerate(), level, |(_, a), (_, b)| {
                order(a, b)
            })
        {
            let sgx = versions.tee_tcb_svns.is_empty().then_some((None, ""));
            for (svn, when) in launched_and_now().map(|(svn, when)| (Some(svn), when)).chain(sgx) {
                for short in missed
                    .shortfalls(&pck.cpu_svn, pck.pce_svn, svn)
                    .unwrap_or_default()
                {
                    let component = self.component(index, short.component);
                    add(
                        all,
                        component,
                        when,
                        short,
                        status(missed.tcb_status),
                        &missed.tcb_date,
                    );
                }
            }
        }
        for (svn, when) in launched_and_now() {
            let identity: Option<&TdxModuleIdentity> = tcb_info.tdx_module_identity(svn).ok().flatten();
            let Some(identity) = identity else { continue };
            let by_svn = |a: &&TdxModuleTcbLevel, b: &&TdxModuleTcbLevel| a.tcb.isvsvn.cmp(&b.tcb.isvsvn);
            let Some(missed) = pick(identity.tcb_levels.iter(), level, by_svn) else {
                continue;
            };
            let Some(short) = missed.shortfall(svn) else {
                continue;
            };
            let component = format!("TDX module {} ISVSVN", identity.id);
            add(
                all,
                component,
                when,
                short,
                status(missed.tcb_status),
                &missed.tcb_date,
            );
        }
    }

    /// What a component is called at the level that stands at this place.
    fn component(&self, level: usize, component: SvnComponent) -> String {
        let names = self
            .names
            .get_or_init(|| serde_json::from_str(&self.text).unwrap_or_default());
        let none = LevelNames::default();
        names.tcb_levels.get(level).unwrap_or(&none).component(component)
    }

    /// The verdict on a platform that gets none of the vendor's: it is below every level, or revoked.
    pub(super) fn fallen(&self, status: Option<TcbStatus>, shortfalls: Vec<Shortfall>) -> Tcb {
        let numbers = self
            .tcb_info
            .as_ref()
            .map(|tcb_info| tcb_info.tcb_evaluation_data_number)
            .into_iter()
            .chain(
                self.identity
                    .as_ref()
                    .map(|identity| identity.tcb_evaluation_data_number),
            );
        Tcb {
            status,
            // As `dcap-qvl` has it of platforms that meet a level.
            evaluation: numbers.min(),
            shortfalls,
            ..Tcb::default()
        }
    }
}

/// The core's name for Intel's status.
pub(super) const fn status(status: Status) -> TcbStatus {
    match status {
        Status::UpToDate => TcbStatus::UpToDate,
        Status::SWHardeningNeeded => TcbStatus::SWHardeningNeeded,
        Status::ConfigurationNeeded => TcbStatus::ConfigurationNeeded,
        Status::ConfigurationAndSWHardeningNeeded => TcbStatus::ConfigurationAndSWHardeningNeeded,
        Status::TDRelaunchAdvised => TcbStatus::TDRelaunchAdvised,
        Status::TDRelaunchAdvisedConfigurationNeeded => TcbStatus::TDRelaunchAdvisedConfigurationNeeded,
        Status::OutOfDate => TcbStatus::OutOfDate,
        Status::OutOfDateConfigurationNeeded => TcbStatus::OutOfDateConfigurationNeeded,
        Status::Revoked => TcbStatus::Revoked,
    }
}

/// Adds a shortfall, unless that component was short already at launch.
fn add(
    all: &mut Vec<Shortfall>,
    component: String,
    when: &str,
    short: SvnShortfall,
    level: TcbStatus,
    since: &str,
) {
    if all.iter().all(|known| known.component != component) {
        let component = component + when;
        all.push(Shortfall {
            component,
            have: short.have,
            needs: short.needs,
            level,
            since: since.to_owned(),
        });
    }
}

fn quoting_enclave_shortfall(identity: &QeIdentity, have: u16, level: Level) -> Option<Shortfall> {
    let missed = pick(identity.tcb_levels.iter(), level, |a, b| {
        a.tcb.isvsvn.cmp(&b.tcb.isvsvn)
    })?;
    (have < missed.tcb.isvsvn).then(|| Shortfall {
        component: format!("quoting enclave {} ISVSVN", identity.id),
        have,
        needs: missed.tcb.isvsvn,
        level: status(missed.tcb_status),
        since: missed.tcb_date.clone(),
    })
}

fn pick<T>(levels: impl Iterator<Item = T>, level: Level, order: impl Fn(&T, &T) -> Ordering) -> Option<T> {
    match level {
        Level::Newest => levels.max_by(order),
        Level::Lowest => levels.min_by(order),
    }
}

/// The order in which Intel's verifier tries levels: SGX components, then PCE, then TDX components.
fn order(a: &TcbLevel, b: &TcbLevel) -> Ordering {
    (&a.tcb.sgx_components, a.tcb.pce_svn, &a.tcb.tdx_components).cmp(&(
        &b.tcb.sgx_components,
        b.tcb.pce_svn,
        &b.tcb.tdx_components,
    ))
}

/// What TCB Info calls its components; Intel gives names to some only.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    tcb_levels: Vec<LevelNames>,
}

#[derive(Default, Deserialize)]
struct LevelNames {
    tcb: ComponentNames,
}

#[derive(Default, Deserialize)]
struct ComponentNames {
    #[serde(rename = "sgxtcbcomponents", default)]
    sgx: Vec<ComponentName>,
    #[serde(rename = "tdxtcbcomponents", default)]
    tdx: Vec<ComponentName>,
}

#[derive(Default, Deserialize)]
struct ComponentName {
    category: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl LevelNames {
    /// Numbered from 1, as in the PCK certificate ("SGX TCB Comp01 SVN").
    fn component(&self, component: SvnComponent) -> String {
        let (family, index, names) = match component {
            SvnComponent::Sgx(index) => ("SGX", index, &self.tcb.sgx),
            SvnComponent::Tdx(index) => ("TDX", index, &self.tcb.tdx),
            SvnComponent::PceSvn => return "PCE SVN".to_owned(),
            SvnComponent::TdxModuleIsvSvn => return "TDX module ISVSVN".to_owned(),
        };
        let number = index.saturating_add(1);
        let called = match names.get(usize::from(index)) {
            Some(ComponentName {
                category: Some(category),
                kind: Some(kind),
            }) => format!(" ({category}: {kind})"),
            Some(
                ComponentName {
                    category: Some(one),
                    kind: None,
                }
                | ComponentName {
                    category: None,
                    kind: Some(one),
                },
            ) => {
                format!(" ({one})")
            }
            _ => String::new(),
        };
        format!("{family} TCB component {number}{called}")
    }
}

#[cfg(test)]
mod tests;
