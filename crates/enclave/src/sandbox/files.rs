//! Landlock: no file but the listed, no TCP, no signal and no abstract socket to those outside.

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::Access;

/// The newest that is asked for; an older kernel gives what it has.
const NEWEST: ABI = ABI::V6;

/// Puts all files but `paths` out of reach, and TCP unless `tcp` is wanted; says what could not be had.
pub(super) fn restrict(paths: &[(PathBuf, Access)], tcp: bool) -> Result<(), String> {
    let failed = |error: RulesetError| format!("no Landlock ({error})");
    match build(paths, tcp).map_err(failed)? {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => Err("only a part of Landlock, the kernel is too old".to_owned()),
        RulesetStatus::NotEnforced => Err("no Landlock, the kernel has it not or not enabled".to_owned()),
    }
}

fn build(paths: &[(PathBuf, Access)], tcp: bool) -> Result<RulesetStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    if !tcp {
        rules = rules.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut rules = rules.create()?;
    for (path, access) in paths {
        // What is not there now is out of reach later too.
        let Ok(opened) = PathFd::new(path) else { continue };
        let directory = path.is_dir();
        let mut allowed = allowed(*access);
        if !directory {
            allowed &= AccessFs::from_file(NEWEST);
        }
        rules = rules.add_rule(PathBeneath::new(opened, allowed))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

fn allowed(access: Access) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::WriteFile | AccessFs::Truncate;
    match access {
        Access::Read => read,
        Access::Device => read | write | AccessFs::IoctlDev,
        Access::Tree => read | write | AccessFs::MakeDir | AccessFs::RemoveDir,
        Access::State => read | write | AccessFs::MakeReg | AccessFs::RemoveFile,
    }
}
