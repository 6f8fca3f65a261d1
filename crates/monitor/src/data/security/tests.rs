use super::*;

fn metrics() -> SecurityMetrics {
    let event = |kind: SecurityEventKind| SecurityEvent {
        at: UnixMillis(1),
        kind,
        severity: kind.severity(),
        detail: "x".to_owned(),
    };
    SecurityMetrics {
        tee_integrity: true,
        enclave_trust: Ratio::default(),
        attestation_valid: true,
        security_events: vec![
            event(SecurityEventKind::EnclaveLost),
            event(SecurityEventKind::EnclaveLost),
            event(SecurityEventKind::KeyRotated),
        ],
        threat_level: ThreatLevel::High,
        compliance_score: crate::decimal::Decimal(9_000),
        security_events_dropped: 3,
        enclave_suspended: false,
        heartbeat_age: Some(crate::decimal::Decimal(1_000_000_000)),
        quote_age: None,
        attestation_expires_at: Some(UnixMillis(1_700_000_000_123)),
    }
}

fn value(points: &[Point], series: &str) -> Option<i64> {
    let point = points.iter().find(|point| point.series() == series);
    point.map(|point| point.value)
}

#[test]
fn points_carry_every_value_and_what_is_unknown_has_none() {
    let mut points = Vec::new();
    metrics().points(&mut points);
    let expected = [
        ("nautilus_tee_integrity", Some(1)),
        ("nautilus_enclave_trust_ratio", Some(0)),
        ("nautilus_node_attested", Some(1)),
        ("nautilus_enclave_suspended", Some(0)),
        (
            "nautilus_security_events{kind=\"enclave_lost\",severity=\"high\"}",
            Some(2),
        ),
        (
            "nautilus_security_events{kind=\"key_rotated\",severity=\"low\"}",
            Some(1),
        ),
        (
            "nautilus_security_events{kind=\"chain_refused\",severity=\"critical\"}",
            Some(0),
        ),
        ("nautilus_security_events_dropped", Some(3)),
        ("nautilus_threat_level", Some(2)),
        ("nautilus_compliance_score_ratio", Some(9_000)),
        ("nautilus_enclave_heartbeat_age_seconds", Some(1_000_000_000)),
        ("nautilus_quote_age_seconds", None),
        (
            "nautilus_attestation_expiry_timestamp_seconds",
            Some(1_700_000_000_123),
        ),
    ];
    for (series, wanted) in expected {
        assert_eq!(value(&points, series), wanted, "{series}");
    }
    // Eight of one series each are always there, and one for each kind.
    assert_eq!(points.len(), 9 + SecurityEventKind::ALL.len());
    for point in &points {
        assert!(FAMILIES.contains(&&*point.family), "{}", point.family.name);
    }
}

#[test]
fn levels_have_their_numbers() {
    for (level, number) in [
        (ThreatLevel::Low, 0),
        (ThreatLevel::Medium, 1),
        (ThreatLevel::High, 2),
        (ThreatLevel::Critical, 3),
    ] {
        let mut points = Vec::new();
        SecurityMetrics {
            threat_level: level,
            ..metrics()
        }
        .points(&mut points);
        assert_eq!(value(&points, "nautilus_threat_level"), Some(number));
    }
}

#[test]
fn a_kind_has_one_name_everywhere() {
    for kind in SecurityEventKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        let severity = kind.severity();
        assert_eq!(serde_json::to_value(severity).unwrap(), severity.as_str());
    }
}

#[test]
fn the_documented_table_of_events_is_the_real_one() {
    let document = include_str!("../../../../../docs/metrics.md");
    let rows: Vec<_> = document
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let kind = cells.next()?.strip_suffix('`')?;
            let severity = cells.next()?;
            ["low", "medium", "high", "critical"]
                .contains(&severity)
                .then_some((kind, severity))
        })
        .collect();
    let real: Vec<_> = SecurityEventKind::ALL
        .iter()
        .map(|kind| (kind.as_str(), kind.severity().as_str()))
        .collect();
    assert_eq!(rows, real);
}
