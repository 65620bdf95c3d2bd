//! The node set grammar: what expressions mean, what is refused, and that folding is its inverse.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bssh_config::Error;
use bssh_config::nodeset::{Groups, NodeSet, expand, fold};
use random::Random;

mod random;

/// A few groups; `^list` is a host file.
struct Lab;

impl Groups for Lab {
    fn group(&self, source: Option<&str>, name: &str) -> Result<Option<Vec<String>>, Error> {
        let nodes: &[&str] = match (source, name) {
            (None, "*") => &["web1", "web2", "db1"],
            (None | Some("s"), "web") => &["web1", "web2"],
            (None, "rack1") => &["a1"],
            (None, "rack2") => &["a2"],
            (None, "none") => &[],
            (Some("s"), "" | "*") => &["s1"],
            _ => return Ok(None),
        };
        Ok(Some(nodes.iter().map(|&n| n.to_owned()).collect()))
    }

    fn known(&self) -> Vec<String> {
        vec!["web".into(), "rack1".into()]
    }

    fn file(&self, path: &str) -> Result<Vec<String>, Error> {
        match path {
            "list" | "/a b/list" | "x,y/\"h\"!1" => Ok(vec!["f1".into(), "f2".into()]),
            _ => Err(Error::plain("no such host file")),
        }
    }
}

fn names(expr: &str) -> Result<String, String> {
    expand(expr, &Lab)
        .map(|set| set.iter().collect::<Vec<_>>().join(" "))
        .map_err(|e| e.to_string())
}

#[test]
fn accepted() {
    let table = [
        // names, ranges, padding, steps
        ("", ""),
        ("  \n ", ""),
        ("host", "host"),
        ("n[1-3,7,9-10]", "n1 n2 n3 n7 n9 n10"),
        ("n[3,1,2]", "n3 n1 n2"),
        ("n[01-03]", "n01 n02 n03"),
        ("n[098-101]", "n098 n099 n100 n101"),
        ("n[08-11]", "n08 n09 n10 n11"),
        ("n[01-100/50]", "n01 n51"),
        ("n[1-2,01-02]", "n1 n2 n01 n02"),
        ("n[1-100/50]", "n1 n51"),
        ("n[00]", "n00"),
        ("n[ 1 - 3 / 2 , 5 ]", "n1 n3 n5"),
        ("[1-3]", "1 2 3"),
        ("[1-2]n", "1n 2n"),
        ("n[1-2].example.com", "n1.example.com n2.example.com"),
        ("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"),
        ("n[1-2][3-4]", "n13 n14 n23 n24"),
        ("n[1-2]-[3-4]", "n1-3 n1-4 n2-3 n2-4"),
        ("n0[9-10]", "n09 n010"),
        ("a,b,a", "a b"),
        ("é[1-2]", "é1 é2"),
        // names that look like something else
        ("n%s,n$HOME,n;id,-n1,n\"1\"", "n%s n$HOME n;id -n1 n\"1\""),
        ("n{1,2}", "n{1 2}"),
        // targets
        ("user@n[1-2]:22", "user@n1:22 user@n2:22"),
        ("ssh://u@n[1-2]:22", "ssh://u@n1:22 ssh://u@n2:22"),
        ("[::1]", "[::1]"),
        ("[::1]:22,root@[fe80::1%eth0]:2222", "[::1]:22 root@[fe80::1%eth0]:2222"),
        ("ssh://[::1]:22", "ssh://[::1]:22"),
        ("fe80::[1-2]", "fe80::1 fe80::2"),
        ("[2001:db8::[1-2]]:22", "[2001:db8::1]:22 [2001:db8::2]:22"),
        ("127.0.[1-2].[1-2]", "127.0.1.1 127.0.1.2 127.0.2.1 127.0.2.2"),
        // algebra, from left to right
        ("n[1-5]!n[2-3]", "n1 n4 n5"),
        ("n[1-5]&n[3-9]", "n3 n4 n5"),
        ("n[1-5]^n[3-7]", "n1 n2 n6 n7"),
        ("n[1-5],n7!n[1-2]&n[3-9]", "n3 n4 n5 n7"),
        ("n[1-3]!n2,n2", "n1 n3 n2"),
        ("a&b", ""),
        (" n1 , n2 ! n1 ", "n2"),
        ("n1\nn2\n\n n3 \n", "n1 n2 n3"),
        ("n1,\nn2", "n1 n2"),
        // groups, files, patterns
        ("@web", "web1 web2"),
        ("@s:web!web1", "web2"),
        ("@*!@web", "db1"),
        ("@s:", "s1"),
        ("@s:*", "s1"),
        ("@rack[1-2]", "a1 a2"),
        ("@none", ""),
        ("x,^list", "x f1 f2"),
        ("^/a b/list!f1", "f2"),
        ("x,^\"x,y/\\\"h\\\"!1\"!f1,y", "x f2 y"),
        ("web*", "web1 web2"),
        ("?b1", "db1"),
    ];
    for (expr, want) in table {
        assert_eq!(names(expr).as_deref(), Ok(want), "{expr}");
    }
}

#[test]
fn refused() {
    let table = [
        ("n[1-", r#"node set "n[1-": missing "]" at column 4"#),
        ("n[1-3", r#"missing "]""#),
        ("[1:3]", "\"1:3\" is neither an IPv6 address nor a range at column 1"),
        ("n[1:3]", "found \":\""),
        ("[::1", r#"missing "]""#),
        ("n]", r#"unexpected "]" at column 2"#),
        ("n[1]]", r#"unexpected "]" at column 5"#),
        ("n[]", "expected a number, found \"]\" at column 3"),
        ("n[1,,2]", "at column 5"),
        ("n[1,]", "expected a number"),
        ("n[a-c]", "found \"a\" at column 3"),
        ("n[1.5]", "expected \",\" or \"]\", found \".\""),
        ("n[1-2[3]]", "found \"[\""),
        ("n[[1-3]]", "found \"[\""),
        ("n[0x1-0x3]", "found \"x\""),
        ("n[1e1]", "found \"e\""),
        ("n[*]", "found \"*\""),
        ("n[-1]", "found \"-\""),
        ("n[1--3]", "expected the end of the range"),
        ("n[+1]", "found \"+\""),
        ("n[１-３]", "found \"１\""),
        ("n[9-1]", "runs backwards at column 3"),
        ("n[1-9/0]", "a step of 0"),
        ("n[1/2]", "a step needs a range"),
        ("n[9-011]", "padding differs"),
        ("n[1-03]", "padding differs"),
        ("n[001-3]", "padding differs"),
        ("n[99999999999999999999]", "too large"),
        ("n1,", "missing node after \",\" at column 3"),
        ("n1,,n2", "missing node after \",\" at column 4"),
        ("!n1", "missing node before \"!\" at column 1"),
        ("n1 &", "missing node after \"&\""),
        ("n1 n2", "no spaces; separate nodes with \",\" at column 3"),
        ("n\u{7}1", "control character"),
        ("n1,^", "missing file name"),
        ("^nosuch", "no such host file"),
        ("n1,^\"x,y", "missing closing quote of the file name at column 5"),
        ("^\"\"", "missing file name"),
        ("@", "missing group name"),
        ("@webb", "unknown group \"@webb\" at column 1"),
        ("a,@s:x", "unknown group \"@s:x\" at column 3"),
        ("x*", "no known node matches"),
        ("n[0-4294967296]", "4294967297 nodes, at most 1000000"),
        ("a[1-99999]b[1-99999]", "9999800001 nodes"),
        ("n[0-18446744073709551615]", "at most 1000000"),
        ("a[1-900],b[1-9999999]", "10000899 nodes, at most 1000000 are allowed at column 10"),
        ("é[", "at column 2"),
    ];
    for (expr, want) in table {
        let error = names(expr).expect_err(expr);
        assert!(error.contains(want), "{expr}: {error}");
    }
    let hint = expand("@webb", &Lab).unwrap_err().hint;
    assert_eq!(hint.as_deref(), Some("did you mean \"@web\"?"));
}

#[test]
fn hostile_input_is_cheap() {
    let started = Instant::now();
    let many = |text: &str, n| text.repeat(n);
    for expr in [
        many("[", 200_000),
        many("n[1]", 100_000),
        many("[1-2]", 50_000),
        many("a[", 100_000),
        many("^", 100_000),
        many("n[1-2],", 100_000),
        many("@web,", 50_000),
        many("*", 3000),
        format!("n[{}1]", many("1,", 200_000)),
        many("n[1-99999],", 1000),
    ] {
        let result = names(&expr);
        if let Err(error) = result {
            assert!(error.len() < 400, "{} characters of error", error.len());
        }
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn folded() {
    let table: &[(&[&str], &str)] = &[
        (&[], ""),
        (&["a"], "a"),
        (&["n1"], "n1"),
        (&["n01", "n01"], "n01"),
        (&["n3", "n1", "n2"], "n[1-3]"),
        (&["n1", "n3", "n5"], "n[1,3,5]"),
        (&["n08", "n09", "n10", "n11"], "n[08-11]"),
        (&["n8", "n9", "n10"], "n[8-10]"),
        (&["n1", "n01", "n2", "n02"], "n[01-02,1-2]"),
        (&["n1.x.com", "n2.x.com", "m1.x.com"], "m1.x.com,n[1-2].x.com"),
        (&["r1n1", "r1n2", "r2n1", "r2n2"], "r[1-2]n[1-2]"),
        (&["r1n1", "r1n2", "r2n1"], "r[1-2]n1,r1n2"),
        (&["127.0.1.1", "127.0.1.2", "127.0.2.1", "127.0.2.2"], "127.0.[1-2].[1-2]"),
        (&["u@n1:22", "u@n2:22"], "u@n[1-2]:22"),
        (&["[::1]:22", "[::2]:22"], "[::1]:22,[::2]:22"),
        (&["n99999999999999999999", "n1"], "n1,n99999999999999999999"),
    ];
    for (names, want) in table {
        let folded = fold(names.iter().copied());
        assert_eq!(folded.len(), want.len(), "{folded} for {want}");
        assert_eq!(sorted(&folded), names.iter().map(|&n| n.to_owned()).collect(), "{folded}");
    }
}

/// Random sets of names of many shapes come back from their folded form, none more, none less.
#[test]
fn fold_and_expand_are_inverse() {
    let mut random = Random(7);
    let shapes = [
        "n#",
        "r#n#",
        "#",
        "x#.a#.org",
        "10.#.#.#",
        "u@h#:#",
        "rack#-n0#",
        "h#a#b#c",
        "::#",
        "plain",
    ];
    for _ in 0..300 {
        let size = random.below(60) + 1;
        let spread = [3, 12, 120][random.below(3)];
        let names: BTreeSet<String> = (0..size)
            .map(|_| {
                let shape = shapes[random.below(shapes.len())];
                let mut name = String::new();
                for c in shape.chars() {
                    match c {
                        '#' => {
                            let (value, width) = (random.below(spread), random.below(3) + 1);
                            name += &format!("{value:0width$}");
                        }
                        c => name.push(c),
                    }
                }
                name
            })
            .collect();
        let folded = fold(names.iter().map(String::as_str));
        assert_eq!(sorted(&folded), names, "{folded}");
    }
}

#[test]
fn ten_thousand_names_fold_fast() {
    let names: Vec<String> = (0..100)
        .flat_map(|r| (0..100).map(move |n| format!("rack{r}-node{n:03}.example.com")))
        .collect();
    let scattered: Vec<String> = (0..10_000).map(|i| format!("n{}", i * 7919 % 100_003)).collect();
    let started = Instant::now();
    assert_eq!(fold(names.iter().map(String::as_str)), "rack[0-99]-node[000-099].example.com");
    let folded = fold(scattered.iter().map(String::as_str));
    // Unoptimised on a busy machine; optimised it is a few milliseconds.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(sorted(&folded).len(), 10_000);
}

#[test]
fn split_and_pick() {
    let set: NodeSet = (1..=10).map(|i| format!("n{i}")).collect();
    let sizes = |n| set.split(n).iter().map(NodeSet::len).collect::<Vec<_>>();
    assert_eq!(sizes(3), [4, 3, 3]);
    assert_eq!(sizes(1), [10]);
    assert_eq!(sizes(0), [10]);
    assert_eq!(sizes(20), [1; 10]);
    assert_eq!(NodeSet::default().split(3), []);
    let parts: Vec<String> =
        set.split(3).iter().flat_map(|p| p.iter()).map(str::to_owned).collect();
    assert_eq!(parts, set.iter().collect::<Vec<_>>());
    for seed in 0..50 {
        let picked = set.pick(4, seed);
        assert_eq!(picked.len(), 4);
        assert!(picked.iter().all(|n| set.contains(n)));
        assert_eq!(picked, set.pick(4, seed));
    }
    assert_eq!(set.pick(99, 1).len(), 10);
    assert!((0..50).map(|seed| fold(set.pick(4, seed).iter())).collect::<BTreeSet<_>>().len() > 20);
}

fn sorted(expr: &str) -> BTreeSet<String> {
    expand(expr, &Lab).expect(expr).iter().map(str::to_owned).collect()
}
