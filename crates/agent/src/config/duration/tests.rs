use super::*;

#[test]
fn durations_are_read_as_go_reads_them() {
    const MS: u64 = 1_000_000;
    let accepted: [(&str, u64); 24] = [
        ("0", 0),
        ("0s", 0),
        ("1ns", 1),
        ("1us", 1_000),
        ("1µs", 1_000),
        ("1μs", 1_000),
        ("500ms", 500 * MS),
        ("30s", 30_000 * MS),
        ("1m30s", 90_000 * MS),
        ("1h", 3_600_000 * MS),
        ("1.5s", 1_500 * MS),
        (".5s", 500 * MS),
        ("1.s", 1_000 * MS),
        ("1.50s", 1_500 * MS),
        ("0.000000001s", 1),
        ("1.5h", 5_400_000 * MS),
        ("1h1m1s1ms1us1ns", 3_661_001_001_001),
        ("30s1m", 90_000 * MS),
        ("007s", 7_000 * MS),
        ("0.1us", 100),
        ("1s1s", 2_000 * MS),
        ("2562047h47m16.854775807s", i64::MAX as u64),
        ("9223372036854775807ns", i64::MAX as u64),
        ("0.0000000000000000000s", 0),
    ];
    for (text, nanos) in accepted {
        assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
    }
    let missing = |number: &str| DurationError::MissingUnit {
        number: number.to_owned(),
    };
    let unknown = |unit: &str| DurationError::UnknownUnit {
        unit: unit.to_owned(),
    };
    let bad = |text: &str| DurationError::BadNumber {
        text: text.to_owned(),
    };
    let refused = [
        ("", DurationError::Empty),
        ("30", missing("30")),
        ("1.5", missing("1.5")),
        ("1m30", missing("30")),
        ("00", missing("00")),
        ("0.0", missing("0.0")),
        ("1d", unknown("d")),
        ("1 s", unknown(" s")),
        ("1s ", unknown("s ")),
        ("1S", unknown("S")),
        ("1min", unknown("min")),
        ("1e3s", unknown("e")),
        ("1_000s", unknown("_")),
        ("s", bad("s")),
        (".s", bad(".s")),
        (" 1s", bad(" 1s")),
        ("abc", bad("abc")),
        ("1s.", bad(".")),
        ("١s", bad("١s")),
        ("-1s", DurationError::Signed),
        ("+1s", DurationError::Signed),
        ("1.5ns", DurationError::TooPrecise),
        ("0.0000000001s", DurationError::TooPrecise),
        ("9223372036854775808ns", DurationError::TooLong),
        ("2562048h", DurationError::TooLong),
        (
            "9999999999999999999999999999999999999999999999h",
            DurationError::TooLong,
        ),
        ("340282366920938463463374607431768211455h", DurationError::TooLong),
        ("2562047h2562047h", DurationError::TooLong),
    ];
    for (text, error) in refused {
        assert_eq!(parse_duration(text), Err(error), "{text:?}");
    }
    assert_eq!(parse_duration(&"1s".repeat(33)), Err(DurationError::TooLong));
}

#[test]
fn durations_are_written_as_go_writes_them() {
    // From the table of Go's own test of Duration.String.
    let table: [(u64, &str); 14] = [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (4 * 60_000_000_000 + 5_000_000_000, "4m5s"),
        (4 * 60_000_000_000 + 5_001_000_000, "4m5.001s"),
        (
            5 * 3_600_000_000_000 + 6 * 60_000_000_000 + 7_001_000_000,
            "5h6m7.001s",
        ),
        (8 * 60_000_000_000 + 1, "8m0.000000001s"),
        (i64::MAX as u64, "2562047h47m16.854775807s"),
        (30_000_000_000, "30s"),
        (3_600_000_000_000, "1h0m0s"),
        (500_000_000, "500ms"),
        (60_000_000_000, "1m0s"),
    ];
    for (nanos, text) in table {
        assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
        assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
    }
    // A spread over all magnitudes.
    let mut nanos: u64 = 1;
    while nanos < i64::MAX as u64 / 7 {
        nanos = nanos * 7 + 3;
        let duration = Duration::from_nanos(nanos);
        assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }
}
