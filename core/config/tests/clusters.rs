//! The configuration: every key, every kind of mistake, and which place wins.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bssh_config::clusters::{InteractiveMode, Keepalive, Pool};
use bssh_config::{Environment, Inventory, Node};
use tempfile::TempDir;

/// A home and a working directory of its own.
struct Lab {
    root: TempDir,
    env: Environment,
}

impl Lab {
    fn new(vars: &[(&str, &str)]) -> Lab {
        let root = TempDir::new().unwrap();
        let (home, cwd) = (root.path().join("home"), root.path().join("work"));
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(&cwd).unwrap();
        // Keeps this machine's ClusterShell files out of sight of the strongest place.
        let vars = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Lab { root, env: Environment { home, cwd, vars, ..Environment::default() } }
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, config: Option<&Path>) -> Result<Inventory, Vec<String>> {
        Inventory::load(&self.env, config).map_err(|problems| {
            let root = format!("{}/", self.root.path().display());
            problems.iter().map(|p| p.to_string().replace(&root, "")).collect()
        })
    }
}

const FULL: &str = r##"
clusters:
  production:
    nodes:
      - web[1-3].example.com
      - { host: db1.example.com, port: 2222, user: postgres, ssh_key: ~/.ssh/db, jump_host: bastion }
      - ops@${SITE}-gw:2200
    user: admin
    ssh_key: ~/.ssh/id_ed25519
    known_hosts: $HOME_DIR/known
    jump_host: bastion.example.com
    interactive: { default_mode: multiplex, prompt_format: "{node}:{pwd}> " }
  both: { nodes: ["@production!web1.example.com", extra], user: other }
default_cluster: production
ssh_config: { connect_timeout: 10, command_timeout: 0, max_retries: 3 }
defaults: { fanout: 32, keepalive: { interval: 5s, count: 2 }, port: 2022, pool: { max_connections: 4, sessions_per_connection: 9, wait: 1m } }
forwarding: { local: ["8080:localhost:80"], remote: [], dynamic: ["1080"], max_connections: 7, retry_attempts: 4, buffer_size: 8192 }
interactive: { history_file: ~/h, node_switch_prefix: "!", show_timestamps: yes, colors: { prompt: cyan, error: "#ff0000" } }
core: { persist: 10m }
"##;

#[test]
fn every_key() {
    let lab = Lab::new(&[("SITE", "ham"), ("HOME_DIR", "/hd")]);
    lab.write("work/config.yaml", FULL);
    let inventory = lab.load(None).unwrap();
    let c = inventory.config();
    // What is understood and changes nothing says so.
    let warnings: Vec<String> = inventory.warnings().iter().map(ToString::to_string).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(c.connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!((c.command_timeout, c.max_retries, c.fanout), (Duration::ZERO, 3, 32));
    assert_eq!(c.keepalive, Some(Keepalive { interval: Duration::from_secs(5), count: 2 }));
    let wait = Duration::from_secs(60);
    assert_eq!(c.pool, Pool { connections: 4, sessions: Some(9), wait });
    assert_eq!(c.forwarding.local, ["8080:localhost:80"]);
    assert_eq!(c.forwarding.dynamic, ["1080"]);
    assert_eq!((c.forwarding.max_connections, c.forwarding.retry_attempts), (7, Some(4)));
    assert_eq!(c.forwarding.buffer_size, 8192);
    assert_eq!(c.interactive.history_file, Some(lab.env.home.join("h")));
    assert_eq!(c.interactive.show_timestamps, Some(true));
    assert_eq!(c.interactive.colors["error"], "#ff0000");
    assert_eq!(c.core.persist, Some(Duration::from_secs(600)));
    let production = &c.clusters["production"];
    assert_eq!(production.interactive.default_mode, Some(InteractiveMode::Multiplex));
    let own = inventory.interactive("@cluster:production");
    assert_eq!(own.prompt_format.as_deref(), Some("{node}:{pwd}> "));
    assert_eq!(own.colors["error"], "#ff0000", "of the top, where the cluster says nothing");
    assert_eq!(inventory.interactive("web1.example.com").prompt_format, None);
    assert!(production.origin.ends_with("config.yaml:3"), "{}", production.origin);

    let nodes = inventory.resolve("", &["web2.example.com".to_owned()]).unwrap();
    let names: Vec<&str> = nodes.iter().map(|n| &*n.name).collect();
    let want = ["web1.example.com", "web3.example.com", "db1.example.com", "ops@ham-gw:2200"];
    assert_eq!(names, want);
    let key = |name| Some(lab.env.home.join(".ssh").join(name));
    let Node { overrides: web, .. } = &nodes[0];
    assert_eq!(
        (web.user.as_deref(), web.port, &web.identity),
        (Some("admin"), Some(2022), &key("id_ed25519"))
    );
    assert_eq!(web.known_hosts, Some("/hd/known".into()));
    let Node { overrides: db, .. } = &nodes[2];
    assert_eq!(
        (db.user.as_deref(), db.port, &db.identity),
        (Some("postgres"), Some(2222), &key("db"))
    );
    assert_eq!(db.jump_host.as_deref(), Some("bastion"));
    let gateway = &nodes[3].destination;
    assert_eq!(
        (gateway.user.as_deref(), &*gateway.host, gateway.port),
        (Some("ops"), "ham-gw", Some(2200))
    );

    // A group within a cluster keeps what the inner one says.
    let both = inventory.resolve("@both", &[]).unwrap();
    assert_eq!(both.len(), 5);
    assert_eq!(both[0].overrides.user.as_deref(), Some("admin"));
    assert_eq!(both[4].overrides.user.as_deref(), Some("other"));
    let groups = inventory.groups();
    let listed: Vec<_> = groups.iter().map(|g| (&*g.name, &*g.source, g.nodes.len())).collect();
    assert_eq!(listed[..2], [("production", "cluster", 5), ("both", "cluster", 5)]);
}

#[test]
fn every_problem_is_found_with_its_place() {
    let text = "
clusters:
  a:
    nodse: [x]
    nodes:
      - n[1-
      - { hosst: x }
      - [x]
      - { host: y, port: 70000 }
    user: [u]
    interactive: { default_mode: multi, colors: { prompt: pink, x: red }, node_switch_prefix: node }
  'b c': {}
default_cluster: b
ssh_config: { connect_timeout: soon }
defaults: { fanout: 0, keepalive: 3 }
forwarding: 5
core: { persist: 10x }
colour: true
";
    let lab = Lab::new(&[("BSSH_MAX_PARALLEL", "many"), ("BSSH_CACHE_ENABLED", "maybe")]);
    lab.write("home/.config/bssh/config.yaml", text);
    let problems = lab.load(None).err().unwrap();
    let at = "home/.config/bssh/config.yaml line";
    let want = [
        "4:5: unknown key \"nodse\", did you mean \"nodes\"?",
        "6:9: node set \"n[1-\": missing \"]\" at column 4",
        "7:11: unknown key \"hosst\", did you mean \"host\"?",
        "7:9: a node without \"host\"",
        "8:9: expected a node or a map with \"host\", found a list",
        "9:26: expected a number from 1 to 65535, found \"70000\"",
        "10:11: expected text, found a list",
        "11:34: expected one of multiplex, single_node, found \"multi\"",
        "11:59: expected #rrggbb or one of default, black, red, green, yellow, blue, magenta, cyan, white, dim, found \"pink\"",
        "11:65: unknown key \"x\", allowed: prompt, node, command, success, error, warning",
        "11:95: expected one to four signs like !, @ or %, found \"node\"",
        "12:3: \"b c\" cannot be a cluster's name",
        "14:32: expected a duration like 10, 2.5, 30s, 10m or 1h30m, found \"soon\"",
        "15:21: expected a number from 1 to 65536, found \"0\"",
        "15:35: expected a map, found \"3\"",
        "16:13: expected a map, found \"5\"",
        "17:18: expected a duration like 10, 2.5, 30s, 10m or 1h30m, found \"10x\"",
        "18:1: unknown key \"colour\", allowed: clusters, default_cluster, ssh_config, defaults, forwarding, interactive, agent, gates, gateways, sync, sessions, core",
    ];
    let mut want: Vec<String> = want.iter().map(|w| format!("{at} {w}")).collect();
    want.push("BSSH_MAX_PARALLEL: expected a number from 1 to 65536, found \"many\"".into());
    want.push("BSSH_CACHE_ENABLED: expected true or false, found \"maybe\"".into());
    want.push(format!("{at} 13:18: default_cluster \"b\" is not among the clusters"));
    assert_eq!(problems, want);
}

#[test]
fn not_yaml_and_not_there() {
    let lab = Lab::new(&[]);
    let cases = [
        ("a: [1", "bad.yaml line 2:1: "),
        (
            "clusters: {a: {nodes: [x]}}\nclusters: {}",
            "bad.yaml line 2:1: key \"clusters\" is given twice",
        ),
        ("clusters: [x]", "bad.yaml line 1:11: expected a map of clusters, found a list"),
        ("hello", "expected a map, found \"hello\""),
    ];
    for (text, want) in cases {
        let file = lab.write("bad.yaml", text);
        let problems = lab.load(Some(&file)).err().unwrap();
        assert!(problems[0].contains(want), "{problems:?}");
    }
    fs::write(lab.root.path().join("bad.yaml"), b"clusters:\n  \xff: {}\n").unwrap();
    let file = lab.root.path().join("bad.yaml");
    assert_eq!(lab.load(Some(&file)).err().unwrap(), ["bad.yaml line 2: not UTF-8"]);
    let missing = lab.root.path().join("nosuch");
    assert_eq!(lab.load(Some(&missing)).err().unwrap(), ["nosuch: no such file"]);
    assert!(lab.load(Some(lab.root.path())).is_err());
}

/// The strongest place that says something wins, key by key.
#[test]
fn places() {
    let home = "clusters: {a: {nodes: [home-a]}, b: {nodes: [home-b]}}\ndefaults: {fanout: 5}\nssh_config: {max_retries: 1}\ndefault_cluster: b\n";
    let work = "clusters: {a: {nodes: [work-a]}}\ndefaults: {fanout: 6}\ndefault_cluster: a\n";
    let lab = Lab::new(&[]);
    lab.write("home/.config/bssh/config.yaml", home);
    let nodes = |lab: &Lab, expr: &str, config: Option<&Path>| {
        let nodes = lab.load(config).unwrap().resolve(expr, &[]).map_err(|e| e.to_string())?;
        Ok::<_, String>(nodes.into_iter().map(|n| n.name).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(nodes(&lab, "", None).unwrap(), "home-b");
    lab.write("work/config.yaml", work);
    assert_eq!(nodes(&lab, "", None).unwrap(), "work-a");
    assert_eq!(nodes(&lab, "@a,@b", None).unwrap(), "work-a home-b");
    let inventory = lab.load(None).unwrap();
    let config = inventory.config();
    assert_eq!((config.fanout, config.max_retries), (6, 1));
    assert!(config.files[0].ends_with("work/config.yaml") && config.files.len() == 2);

    let explicit = lab.write("x.yaml", "clusters: {c: {nodes: [c1]}}\n");
    let error = nodes(&lab, "@a", Some(&explicit)).unwrap_err();
    assert_eq!(error, "node set \"@a\": unknown group \"@a\" at column 1");
    assert_eq!(nodes(&lab, "@c", Some(&explicit)).unwrap(), "c1");

    let mut lab = lab;
    let mut set = |k: &str, v: &str| drop(lab.env.vars.insert(k.into(), v.into()));
    set("BSSH_MAX_PARALLEL", "9");
    set("BSSH_CONNECT_TIMEOUT", "2.5");
    set("BSSH_PERSIST", "off");
    set("BACKENDAI_CLUSTER_HOSTS", "main1,sub1");
    set("BACKENDAI_CLUSTER_HOST", "main1");
    set("BACKENDAI_CLUSTER_ROLE", "main");
    let inventory = lab.load(None).unwrap();
    assert_eq!(inventory.config().fanout, 9);
    assert_eq!(inventory.config().connect_timeout, Some(Duration::from_millis(2500)));
    let bai = inventory.resolve("", &[]).unwrap();
    assert_eq!((&*bai[1].name, bai[1].overrides.port, bai.len()), ("sub1", Some(2200), 2));
    assert_eq!(inventory.resolve("@backendai:", &[]).unwrap(), bai);
    let clusters = &inventory.config().clusters;
    assert!(clusters.contains_key("bai_auto") && clusters.contains_key("b"));
    lab.env.vars.insert("BSSH_CONFIG".into(), explicit.to_str().unwrap().into());
    assert_eq!(nodes(&lab, "", None).unwrap(), "main1 sub1");
    lab.write("x.yaml", "clusters: {c: {nodes: [c1]}}\ndefault_cluster: c\n");
    assert_eq!(nodes(&lab, "", None).unwrap(), "c1");
}

#[test]
fn a_config_yaml_of_another_program_is_left_alone() {
    let table = [
        ("log: {level: debug}\nport: 80\n", true),
        ("apiVersion: v1\nkind: Config\nclusters:\n- name: k8s\nusers: []\n", true),
        ("a: {{ template }}\n", true),
        ("\tnot yaml", true),
        ("clusters: {a: {nodes: [x]}}\nextra: 1\nextra2: 1\nextra3: 1\n", false),
        ("default_cluster: a\n", false),
        ("clusters:\n  a: [\n", false),
    ];
    for (text, foreign) in table {
        let lab = Lab::new(&[]);
        lab.write("work/config.yaml", text);
        match lab.load(None) {
            Ok(inventory) => {
                let warning = inventory.warnings()[0].to_string();
                assert!(
                    foreign && warning.contains("not a bssh configuration"),
                    "{text}: {warning}"
                );
            }
            Err(problems) => assert!(!foreign, "{text}: {problems:?}"),
        }
    }
}

#[test]
fn one_host_with_many_ports_is_many_nodes() {
    let lab = Lab::new(&[]);
    let file = lab.write(
        "c.yaml",
        "clusters:\n  demo:\n    nodes:\n    - {host: 127.0.0.1, port: 1}\n    - {host: 127.0.0.1, port: 2}\n    - {host: '::1', port: 3}\n    - '[::1]'\n    - '::1'\n    - $NOPE\n    - {host: x, jump_host: ''}\n",
    );
    let inventory = lab.load(Some(&file)).unwrap();
    let nodes = inventory.resolve("@demo", &[]).unwrap();
    let names: Vec<&str> = nodes.iter().map(|n| &*n.name).collect();
    assert_eq!(names, ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3", "[::1]", "::1", "$NOPE", "x"]);
    assert_eq!(nodes[1].destination.port, Some(2));
    assert_eq!(nodes[6].overrides.jump_host.as_deref(), Some("none"));
    let warning = inventory.warnings()[0].to_string();
    assert!(
        warning.ends_with("line 9:7: variable \"NOPE\" is not set, \"$NOPE\" is left as it stands"),
        "{warning}"
    );
}

#[test]
fn check_looks_deeper() {
    let lab = Lab::new(&[]);
    let file = lab.write(
        "c.yaml",
        "clusters:\n  a: {nodes: ['@b']}\n  b: {nodes: ['@a']}\n  c: {nodes: ['h:99999']}\n  d: {nodes: [x], ssh_key: /nosuch/key}\n  e: {}\n",
    );
    let inventory = lab.load(Some(&file)).unwrap();
    let problems: Vec<String> = inventory.check().iter().map(ToString::to_string).collect();
    for want in [
        "contains itself",
        "\"99999\" is not a port",
        "c.yaml line 5:3: cluster \"d\": ssh_key \"/nosuch/key\" does not exist",
        "cluster \"e\" has no nodes",
    ] {
        assert!(problems.iter().any(|p| p.contains(want)), "{want}: {problems:?}");
    }
}

#[test]
fn sessions_and_what_is_wrong_with_them() {
    let lab = Lab::new(&[("SITE", "eu")]);
    let good = "sync: {app: {target: x, pairs: [{local: a, remote: b}]}}\nsessions:\n  dev:\n    target: build-$SITE\n    shell: /bin/zsh\n    cwd: ~/app\n    snapshot: plain\n    env: {CC: clang, EMPTY: '', AT: $SITE}\n    env_exclude: [LANG]\n    sync: [app]\n    forward_agent: true\n    on_disconnect: keep\n    timeout: 10m\n    kill_grace: 2s\n    max_output: 64K\n    spool: 1G\n";
    let inventory = lab.load(Some(&lab.write("good.yaml", good))).unwrap();
    let dev = &inventory.config().sessions["dev"];
    assert_eq!((dev.target.as_str(), dev.shell.as_deref()), ("build-eu", Some("/bin/zsh")));
    assert_eq!((dev.cwd.as_deref(), dev.plain, dev.keep), (Some("~/app"), true, true));
    let env: Vec<_> = dev.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(env, ["AT=eu", "CC=clang", "EMPTY="]);
    assert_eq!((&dev.env_exclude[..], &dev.sync[..]), (&["LANG".into()][..], &["app".into()][..]));
    assert_eq!(
        (dev.timeout, dev.kill_grace),
        (Some(Duration::from_secs(600)), Some(Duration::from_secs(2)))
    );
    assert_eq!((dev.max_output, dev.spool, dev.forward_agent), (Some(65536), Some(1 << 30), true));
    assert!(inventory.check().is_empty());
    let bad = "sync: {app: {target: x, pairs: [{local: a, remote: b}]}}\nsessions:\n  a: {}\n  b c: {target: x}\n  d: {target: x, timout: 3}\n  e: {target: x, shell: zsh}\n  f: {target: x, env: {1A: b}}\n  g: {target: x, env_exclude: [A-B]}\n  h: {target: x, on_disconnect: stay}\n  i: {target: x, max_output: 1T}\n  j: {target: x, sync: [ap]}\n";
    let want = [
        "3:3: a session needs \"target\"",
        "4:3: \"b c\" cannot be a session's name",
        "5:18: unknown key \"timout\", did you mean \"timeout\"?",
        "6:25: expected the shell's whole path on the node, found \"zsh\"",
        "7:24: \"1A\" is no name of a variable",
        "8:32: expected the name of a variable, found \"A-B\"",
        "9:33: expected one of kill, keep, found \"stay\"",
        "10:30: expected bytes like 65536, 64K, 10M or 1G, found \"1T\"",
        "11:25: no sync is called \"ap\"",
    ];
    let problems = lab.load(Some(&lab.write("bad.yaml", bad))).err().unwrap();
    for (problem, want) in problems.iter().zip(want) {
        assert!(problem.contains(want), "{problem}: {want}");
    }
    assert_eq!(problems.len(), want.len(), "{problems:?}");
    let nowhere = lab.write("c.yaml", "sessions: {a: {target: '@nobody'}}\n");
    let problems = lab.load(Some(&nowhere)).unwrap().check();
    assert!(problems[0].to_string().contains("session \"a\": "), "{problems:?}");
}
