use dcap_qvl::intel::PckExtension;

use super::*;

fn platform(cpu_svn: [u8; 16], pce_svn: u16) -> Platform {
    let pck = PckExtension {
        ppid: vec![0; 16],
        cpu_svn,
        pce_svn,
        pce_id: vec![0, 0],
        fmspc: [0xb0, 0xc0, 0x6f, 0, 0, 0],
        sgx_type: 1,
        platform_instance_id: None,
        raw_extension: Vec::new(),
        dynamic_platform: None,
        cached_keys: None,
        smt_enabled: None,
    };
    Platform {
        certificates: Vec::new(),
        pck,
        ca: None,
    }
}

/// Real collateral whose newest level also asks for SGX component 10, which Intel does not use.
fn collateral() -> QuoteCollateralV3 {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../vectors/tdx/tdx-v4-td10/collateral-0.json"
    );
    let mut collateral: QuoteCollateralV3 = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut tcb_info: serde_json::Value = serde_json::from_str(&collateral.tcb_info).unwrap();
    tcb_info["tcbLevels"][0]["tcb"]["sgxtcbcomponents"][9]["svn"] = 1.into();
    collateral.tcb_info = tcb_info.to_string();
    collateral
}

fn told(platform: &Platform, tee_tcb_svns: &[[u8; 16]], qe_isv_svn: u16, level: Level) -> Vec<String> {
    let versions = Versions {
        platform,
        tee_tcb_svns,
        qe_isv_svn,
    };
    let line = |short: Shortfall| format!("{}: {} of {}", short.component, short.have, short.needs);
    Levels::read(&collateral())
        .shortfalls(&versions, level)
        .into_iter()
        .map(line)
        .collect()
}

fn svn(module_isvsvn: u8, microcode: u8) -> [u8; 16] {
    let mut svn = [0; 16];
    svn[..3].copy_from_slice(&[module_isvsvn, 1, microcode]);
    svn
}

#[test]
fn every_component_below_the_newest_level_is_named() {
    let mut cpu_svn = [9; 16];
    (cpu_svn[0], cpu_svn[3], cpu_svn[9]) = (1, 1, 0);
    assert_eq!(
        told(&platform(cpu_svn, 5), &[svn(11, 0)], 0, Level::Newest),
        [
            "SGX TCB component 1 (BIOS: Early Microcode Update): 1 of 4",
            "SGX TCB component 4 (BIOS): 1 of 2",
            "SGX TCB component 10: 0 of 1",
            "PCE SVN: 5 of 11",
            "TDX TCB component 3 (OS/VMM: TDX Late Microcode Update): 0 of 4",
            "quoting enclave TD_QE ISVSVN: 0 of 4",
        ]
    );
}

#[test]
fn what_a_td_was_launched_with_and_what_it_has_now_are_both_held_against_the_level() {
    let good = platform([9; 16], 99);
    let newest = |svns: &[[u8; 16]]| told(&good, svns, 99, Level::Newest);
    let module = "TDX module TDX_01 ISVSVN: 6 of 11";
    assert_eq!(newest(&[svn(11, 4), svn(11, 4)]), Vec::<String>::new());
    assert_eq!(newest(&[svn(6, 4)]), [module]);
    assert_eq!(newest(&[svn(6, 4), svn(6, 4)]), [module]);
    assert_eq!(
        newest(&[svn(11, 4), svn(6, 4)]),
        ["TDX module TDX_01 ISVSVN now: 6 of 11"]
    );
}

#[test]
fn the_lowest_level_asks_for_less_than_the_newest() {
    let poor = platform([0; 16], 0);
    let (lowest, newest) = (
        told(&poor, &[svn(0, 0)], 0, Level::Lowest),
        told(&poor, &[svn(0, 0)], 0, Level::Newest),
    );
    assert!(
        lowest.contains(&"TDX module TDX_01 ISVSVN: 0 of 2".to_owned()),
        "{lowest:?}"
    );
    assert!(
        newest.contains(&"TDX module TDX_01 ISVSVN: 0 of 11".to_owned()),
        "{newest:?}"
    );
    assert_ne!(lowest, newest);
}
