//! Files that are no configuration, by mistake or on purpose.

use super::*;

#[test]
fn yaml_that_a_configuration_has_no_use_for_is_refused() {
    let bomb =
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n";
    let cases = [
        (bomb.to_owned(), 1, 4, "anchors are"),
        ("a: *b\n".to_owned(), 1, 4, "aliases are"),
        ("{\"a\":*b}".to_owned(), 1, 6, "aliases are"),
        ("[a,&b c]".to_owned(), 1, 4, "anchors are"),
        (block("<<: {enabled: true}"), 3, 5, "merge keys are"),
        (block("enabled: !!str true"), 3, 14, "tags are"),
        ("%YAML 1.2\n---\ndaas:\n".to_owned(), 1, 1, "YAML directives are"),
        (
            "daas:\n---\ndaas:\n".to_owned(),
            2,
            1,
            "several documents in one file are",
        ),
        (
            "---\ndaas:\n---\n".to_owned(),
            3,
            1,
            "several documents in one file are",
        ),
        (
            "daas:\n...\n".to_owned(),
            2,
            1,
            "several documents in one file are",
        ),
        ("? daas\n: x\n".to_owned(), 1, 1, "`?` keys are"),
        (block("enclave_image: |\n      /a\n"), 3, 20, "block texts are"),
    ];
    for (text, line, column, expected) in cases {
        match refused(&text, line, column) {
            (ConfigError::Unsupported { what, .. }, _) => assert_eq!(what, expected, "{text}"),
            other => panic!("{other:?}"),
        }
    }
    // What only looks like it is a plain value.
    let plain = block("enclave_image: /a&b*c!d|e>f?g%h# i[j]{k} --- \"l\"");
    assert_eq!(
        Node::with(plain).load().unwrap().enclave_image(),
        Some(Path::new("/a&b*c!d|e>f?g%h# i[j]{k} --- \"l\""))
    );
    let quoted = block("enclave_image: \"&a *b !c # \\\" d: [{\" # \"[[[");
    assert_eq!(
        Node::with(quoted).load().unwrap().enclave_image(),
        Some(Path::new("&a *b !c # \" d: [{"))
    );
    let quoted = block("enclave_image: '&a ''*b'' \\' # ' \"");
    assert_eq!(
        Node::with(quoted).load().unwrap().enclave_image(),
        Some(Path::new("&a '*b' \\"))
    );
}

#[test]
fn text_that_is_no_yaml_is_refused_where_it_goes_wrong() {
    let cases = [
        (block("enabled: a: b"), 3, 15),
        ("daas:\n\tnautilus:\n".to_owned(), 2, 1),
        ("daas:\n  \tnautilus:\n".to_owned(), 2, 3),
        (block("enclave_image: \"abc"), 3, 20),
        ("daas: \0\n".to_owned(), 1, 7),
        ("daas: \u{1b}[0m\n".to_owned(), 1, 7),
        ("daas: x\u{feff}\n".to_owned(), 1, 8),
        ("\u{feff}\u{feff}daas:\n".to_owned(), 1, 1),
        ("daas: @x\n".to_owned(), 1, 7),
        (block("a: 1\n   b: 2"), 4, 4),
    ];
    for (text, line, column) in cases {
        let (error, message) = refused(&text, line, column);
        assert!(matches!(error, ConfigError::Syntax { .. }), "{error:?}");
        assert!(
            message.starts_with(&format!("config.yaml:{line}:{column}: ")),
            "{message}"
        );
    }
    let open = Node::with("daas: {nautilus: {enabled: true}\n")
        .load()
        .unwrap_err();
    assert!(matches!(open, ConfigError::Syntax { .. }), "{open:?}");
}

#[test]
fn deep_nesting_is_refused_whatever_its_form() {
    let ladder = |levels: usize| {
        (0..levels)
            .map(|n| format!("{}a:\n", " ".repeat(n)))
            .collect::<String>()
    };
    refused_as_deep("[".repeat(10_000), 1, 17);
    refused_as_deep("{a: ".repeat(10_000), 1, 65);
    refused_as_deep("- ".repeat(10_000), 1, 33);
    refused_as_deep(ladder(1_000), 130, 130);
    refused_as_deep("[\n".repeat(10_000), 17, 1);
    refused_as_deep("{\"a\":".repeat(10_000), 1, 81);
    refused_as_deep("[[]:".repeat(10_000), 1, 62);
    // The deepest that the guard lets through does the parser no harm.
    let deepest = ladder(129) + &" ".repeat(128) + &"- ".repeat(16) + &"[a: ".repeat(16);
    let error = Node::with(deepest).load().unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { .. }), "{error:?}");
}

/// To the parser each of these colons opens a mapping inside the one before it.
#[test]
fn colons_without_keys_do_not_nest() {
    for (prefix, unit, line, column) in [
        ("[", ":\n", 1, 2),
        ("", ": ", 1, 1),
        ("{", "'a': ", 1, 10),
        ("[", "a: ", 1, 6),
        ("[a", "\n: ", 2, 1),
    ] {
        let (error, _) = refused(prefix.to_owned() + &unit.repeat(100_000), line, column);
        assert!(matches!(error, ConfigError::Syntax { .. }), "{error:?}");
    }
}

#[track_caller]
fn refused_as_deep(text: String, line: u32, column: u32) {
    let (error, _) = refused(text, line, column);
    assert!(matches!(error, ConfigError::TooDeep { .. }), "{error:?}");
}

#[test]
fn hostile_files_are_refused() {
    let limit = 1024 * 1024;
    let node = Node::with(vec![b'#'; limit]);
    assert_eq!(node.load().unwrap(), Config::default());
    let node = Node::with(vec![b'#'; limit + 1]);
    let error = node.load().unwrap_err();
    assert!(
        matches!(&error, ConfigError::TooLarge { path, limit: 1_048_576 } if *path == node.path(MAIN)),
        "{error:?}"
    );

    for (bytes, line, column) in [
        (&b"daas:\n  \xff\n"[..], 2, 3),
        (b"\x7fELF\x02\x01\x01\x00\x80", 1, 9),
        (b"\xef\xbb\xbf\xc3\xa9\xc3\n", 1, 2),
    ] {
        let (error, _) = refused(bytes, line, column);
        assert!(matches!(error, ConfigError::NotUtf8 { .. }), "{error:?}");
    }

    let long = Node::with(block("enclave_image: ") + &"a".repeat(limit - 100))
        .load()
        .unwrap_err();
    assert!(matches!(
        long,
        ConfigError::BadValue { .. } | ConfigError::Syntax { .. }
    ));

    let node = (0..257).fold(Node::new(), |node, n| {
        node.file(&format!("config.d/{n}.yaml"), "")
    });
    let error = node.load().unwrap_err();
    assert!(
        matches!(error, ConfigError::TooManyFiles { limit: 256, .. }),
        "{error:?}"
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let io_error = |node: &Node, name: &str, expected: io::ErrorKind| {
        let error = node.load().unwrap_err();
        match &error {
            ConfigError::Io { path, source, .. } => {
                assert_eq!((path, source.kind()), (&node.path(name), expected))
            }
            _ => panic!("{error:?}"),
        }
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot read {}", node.path(name).display())),
            "{error}"
        );
    };
    let mut node = Node::new();
    node.sources.file = Some(node.path("absent.yaml"));
    io_error(&node, "absent.yaml", io::ErrorKind::NotFound);
    node.sources.file = Some(node.path(""));
    io_error(&node, "", io::ErrorKind::IsADirectory);
    io_error(
        &Node::new().file("config.yaml/x", ""),
        MAIN,
        io::ErrorKind::IsADirectory,
    );
    io_error(
        &Node::new().file("config.d/x.yaml/y", ""),
        "config.d/x.yaml",
        io::ErrorKind::IsADirectory,
    );
    io_error(
        &Node::new().file("config.d", ""),
        "config.d",
        io::ErrorKind::NotADirectory,
    );

    // A link to nowhere is a mistake, not an absent file.
    let node = Node::new();
    std::os::unix::fs::symlink("nowhere", node.path(MAIN)).unwrap();
    io_error(&node, MAIN, io::ErrorKind::NotFound);

    // The superuser may read everything, so there this proves nothing.
    if !rustix::process::geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt as _;
        let node = Node::with("");
        fs::set_permissions(node.path(MAIN), fs::Permissions::from_mode(0o000)).unwrap();
        io_error(&node, MAIN, io::ErrorKind::PermissionDenied);
    }
}

#[test]
fn changed_files_never_panic() {
    let sample = Node::with(block(&format!(
        "tee_type: \"sgx\" # c\n    metrics_interval: 30s\n    'quote_provider': 'a''b'\n    pcr_policy: {{pcr0: {HEX_40}, \
         \"pcr1\": [x, -, {{y: ~}}]}}"
    )));
    let text = fs::read(sample.path(MAIN)).unwrap();
    let inserts: [&[u8]; 16] = [
        b"", b":", b": ", b"- ", b"[", b"]", b"{", b"}", b"\"", b"'", b"\n", b"\n  ", b"#", b",", b"?", b"\\",
    ];
    for at in 0..text.len() {
        for (insert, removed) in inserts.iter().flat_map(|insert| [(insert, 0), (insert, 1)]) {
            let changed = [&text[..at], insert, &text[at + removed..]].concat();
            // Reached through the parser itself: the result may be either, but it must be one.
            let mut config = Config::default();
            let text = String::from_utf8(changed).unwrap();
            if let Err(error) = config.apply_file(Path::new("x").into(), &text) {
                assert!(
                    matches!(
                        error.origin(),
                        Some(Origin::File {
                            line: 1..,
                            column: 1..,
                            ..
                        })
                    ),
                    "{error:?}"
                );
            }
        }
    }
}

/// Whatever is repeated must end in a value or an error, and neither in a panic nor in an overflowed stack.
#[test]
fn repeated_tokens_never_overflow_the_stack() {
    const TOKENS: [&str; 22] = [
        "a", ":", ": ", "- ", "-", "[", "]", "{", "}", ",", "\"", "'", "\n", "\n ", "\n  ", "#", "? ", "\\",
        "b: ", " ", "\"q\"", "~",
    ];
    // SplitMix64, so that a failure can be repeated.
    let mut state: u64 = 0;
    let mut pick = |bound: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    };
    let rounds = std::env::var("NAUTILUS_TEST_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap());
    for _ in 0..rounds {
        let mut part = |longest: usize| {
            (0..=pick(longest))
                .map(|_| TOKENS[pick(TOKENS.len())])
                .collect::<String>()
        };
        let (prefix, unit) = (part(4), part(5));
        let text = prefix + &unit.repeat(20_000);
        let loaded = Config::default().apply_file(Path::new("x").into(), &text);
        assert!(
            loaded.is_ok() || loaded.is_err_and(|error| error.origin().is_some()),
            "{unit:?}"
        );
    }
}
