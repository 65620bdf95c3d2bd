//! What is remembered of files and variables: found again, noticed to have changed, bounded.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use bssh_config::memory::Figures;
use bssh_config::ssh_config::{ConfigFile, Request, SshConfig, destination};
use bssh_config::{Environment, Inventory};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

struct Lab {
    dir: tempfile::TempDir,
    env: Environment,
}

impl Lab {
    fn new(vars: &[(&str, &str)]) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".ssh/parts")).unwrap();
        let env = Environment {
            home: dir.path().into(),
            cwd: dir.path().into(),
            user: "me".into(),
            uid: rustix::process::getuid().as_raw(),
            vars: vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            ..Environment::default()
        };
        Lab { dir, env }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(".ssh").join(name)
    }

    /// Writes a file, and waits until the clock of files can tell its next change.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        settle();
    }

    fn port(&self, file: &str) -> u16 {
        let config = SshConfig::load(&self.env, &ConfigFile::File(self.path(file))).unwrap();
        config.resolve(&Request::new(&destination("h").unwrap())).unwrap().port
    }

    fn figures(&self) -> [Figures; 2] {
        self.env.memory.figures(self.env.caching().unwrap())
    }

    fn files(&self) -> (u64, u64, u64) {
        let [files, _] = self.figures();
        (files.hits, files.misses, files.changed)
    }
}

/// Lets time go by: what is tested is that things age.
#[allow(clippy::disallowed_methods, reason = "time itself is tested")]
fn age(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Files that changed less than a tick ago are not kept.
fn settle() {
    age(30);
}

#[test]
fn a_file_is_read_again_only_when_something_has_changed() {
    let lab = Lab::new(&[]);
    lab.write("parts/a", "");
    lab.write("config", "Include parts/*\nInclude other\nPort 1");
    assert_eq!((lab.port("config"), lab.port("config")), (1, 1));
    assert_eq!(lab.files(), (1, 1, 0));
    // The file itself, with the same size.
    lab.write("config", "Include parts/*\nInclude other\nPort 2");
    assert_eq!((lab.port("config"), lab.files()), (2, (1, 2, 1)));
    // A file that a pattern finds, and one that was missing.
    lab.write("parts/b", "Port 3");
    assert_eq!((lab.port("config"), lab.files()), (3, (1, 3, 2)));
    fs::remove_file(lab.path("parts/b")).unwrap();
    lab.write("other", "Port 4");
    assert_eq!((lab.port("config"), lab.files()), (4, (1, 4, 3)));
    assert_eq!((lab.port("config"), lab.files()), (4, (2, 4, 3)));
    // Whether a file may be used depends on its mode, which its time does not show.
    let mut mode = fs::metadata(lab.path("other")).unwrap().permissions();
    mode.set_mode(0o666);
    fs::set_permissions(lab.path("other"), mode).unwrap();
    let refused = SshConfig::load(&lab.env, &ConfigFile::File(lab.path("config"))).unwrap_err();
    assert!(refused[0].message.contains("bad owner or permissions"), "{refused:?}");
    let [files, _] = lab.figures();
    assert_eq!(files.entries, 0, "what was wrong is not remembered");
}

#[test]
fn what_is_remembered_is_bounded_and_ages() {
    let lab = Lab::new(&[("BSSH_CACHE_SIZE", "2"), ("BSSH_CACHE_TTL", "0.2")]);
    for name in ["a", "b", "c"] {
        lab.write(name, "Port 1");
        lab.port(name);
    }
    let [files, _] = lab.figures();
    assert_eq!((files.entries, files.evicted), (2, 1));
    let names: Vec<_> = files.held.iter().map(|held| held.name.clone()).collect();
    assert_eq!(names, [lab.path("c"), lab.path("b")].map(|p| p.display().to_string()));
    age(250);
    lab.port("c");
    let [files, _] = lab.figures();
    assert_eq!((files.hits, files.expired), (0, 1));
    assert_eq!(lab.env.memory.maintain(lab.env.caching().unwrap()), 1, "b is too old");
    assert_eq!(lab.env.memory.clear(), 1);
    let off = Lab::new(&[("BSSH_CACHE_ENABLED", "false")]);
    off.write("a", "Port 1");
    off.port("a");
    off.port("a");
    assert_eq!((off.files(), off.figures()[0].limits.enabled), ((0, 0, 0), false));
    let wrong = Lab::new(&[("BSSH_CACHE_TTL", "soon"), ("BSSH_ENV_CACHE_SIZE", "0")]);
    let problems = SshConfig::load(&wrong.env, &ConfigFile::None).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn variables_are_kept_by_name_for_their_frontend_only() {
    let lab = Lab::new(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d"), ("PATH", "/bin"), ("LD_X", "y")]);
    lab.write("config", "IdentityFile ${HOME}/${XDG_DATA_HOME}/${PATH}/${LD_X}/${HOME}");
    let other = Environment {
        vars: [("HOME", "/other"), ("XDG_DATA_HOME", ""), ("PATH", ""), ("LD_X", "")]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .into(),
        memory: lab.env.memory.of_another(7),
        ..lab.env.clone()
    };
    let file = |env: &Environment| {
        let config = SshConfig::load(env, &ConfigFile::File(lab.path("config"))).unwrap();
        let options = config.resolve(&Request::new(&destination("h").unwrap())).unwrap();
        options.identity_files[0].display().to_string()
    };
    assert_eq!(file(&lab.env), "/h//d//bin/y//h");
    assert_eq!(file(&other), "/other/////other", "not the other one's");
    let [_, variables] = lab.figures();
    let names: Vec<_> = variables.held.iter().map(|held| held.name.as_str()).collect();
    assert_eq!(names, ["HOME", "XDG_DATA_HOME", "HOME", "XDG_DATA_HOME"]);
    assert_eq!((variables.hits, variables.misses, variables.passed_by), (2, 4, 4));
    other.memory.forget_variables();
    assert_eq!(lab.figures()[1].entries, 2);
    // `$NAME` in our own configuration asks the same cache.
    fs::write(lab.dir.path().join("config.yaml"), "clusters: {c: {nodes: [\"n$LANG\"]}}").unwrap();
    let mut named = lab.env.clone();
    named.vars.insert("LANG".into(), "x".into());
    let inventory = Inventory::load(&named, None).unwrap();
    assert_eq!(inventory.resolve("@c", &[]).unwrap()[0].name, "nx");
    assert!(lab.figures()[1].held.iter().any(|held| held.name == "LANG"));
}

#[test]
fn remembering_is_ten_times_as_fast_as_reading() {
    let on = Lab::new(&[]);
    let off = Lab::new(&[("BSSH_CACHE_ENABLED", "no")]);
    let text: String = (0..500)
        .map(|n| format!("Host node{n}\n  HostName 10.0.0.{n}\n  User u{n}\n  Port {}\n", n + 1))
        .collect();
    let time = |lab: &Lab| {
        lab.write("config", &text);
        let file = ConfigFile::File(lab.path("config"));
        let load = || {
            let begun = Instant::now();
            SshConfig::load(&lab.env, &file).unwrap();
            begun.elapsed()
        };
        load();
        (0..20).map(|_| load()).min().unwrap()
    };
    let (hit, miss) = (time(&on), time(&off));
    println!("2000 lines: read {miss:?}, remembered {hit:?}");
    assert!(hit * 10 < miss, "read {miss:?}, remembered {hit:?}");
}
