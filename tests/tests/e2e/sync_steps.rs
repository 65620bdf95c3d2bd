//! Syncs that are stopped between two requests, wherever that is: killed, interrupted, silent; and
//! files that change while they are carried.

use super::sync::{Pair, text, write};
use super::sync_faults::{files, is_temporary, whole};
use bssh_fixtures::{Behaviour, EmbeddedNodes, Gate, Home, SshdOptions};
use bssh_tests::{Lab, Run, until};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Nothing that works takes this long, also on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(120);

/// Two directories, one of them on a node whose file server stops where a test wants it to.
struct Stopping {
    home: Home,
    gate: Arc<Gate>,
    _nodes: EmbeddedNodes,
}

impl Stopping {
    fn new() -> Stopping {
        let gate = Arc::new(Gate::default());
        let behaviour = Behaviour { gate: Some(gate.clone()), ..Behaviour::default() };
        let nodes = EmbeddedNodes::with(vec![behaviour]).unwrap();
        let home = Home::new().unwrap();
        nodes.write_client_files(home.path()).unwrap();
        fs::create_dir(home.path().join("here")).unwrap();
        Stopping { home, gate, _nodes: nodes }
    }

    fn here(&self, path: &str) -> PathBuf {
        self.home.path().join("here").join(path)
    }

    fn there(&self, path: &str) -> PathBuf {
        self.home.path().join("there").join(path)
    }

    fn start(&self, words: &[&str]) -> Run {
        let mut command = self.home.command(bssh_tests::bssh());
        command.arg("-F").arg(self.home.path().join("ssh_config")).arg("sync").args(words);
        Run::start(command)
    }

    fn sync(&self, verb: &str) -> Run {
        let there = format!("demo1:{}", self.there("").display());
        self.start(&[verb, self.here("").to_str().unwrap(), &there])
    }

    /// Begins a sync whose node stops after so many requests. None: it was done before that.
    fn stopped(&self, verb: &str, after: u64) -> Option<Run> {
        self.gate.set(after);
        let run = self.sync(verb);
        let is_over = || !std::path::Path::new(&format!("/proc/{}/exe", run.pid())).exists();
        assert!(until(DEADLINE, || self.gate.is_held() || is_over()), "stopped or done");
        match self.gate.is_held() {
            true => Some(run),
            false => {
                run.finish(DEADLINE).expect_status(0);
                None
            }
        }
    }

    /// Every file is one of its versions, and only temporary ones are ours.
    fn all_whole(&self, version: usize, case: &str) {
        for root in [self.here(""), self.there("")] {
            for (path, said) in files(&root) {
                let name = path.to_str().unwrap();
                let is_whole = (0..=version).any(|version| said == whole(name, version));
                assert!(is_temporary(&path) || is_whole, "{case}: half of {name}");
            }
        }
    }

    /// A lease that nobody has signed is nobody's after a while.
    fn time_passes(&self) {
        let old = std::time::SystemTime::now() - Duration::from_secs(15);
        // There may be none.
        let _ = fs::File::open(self.there(".bssh-sync/lease")).map(|dir| dir.set_modified(old));
    }

    /// In the end both sides are the same, and nothing of ours is left.
    fn all_the_same(&self) {
        self.gate.set(u64::MAX);
        self.sync("run").finish(DEADLINE).expect_status(0);
        let (here, there) = (files(&self.here("")), files(&self.there("")));
        assert_eq!(here, there, "both sides are the same in the end");
        assert!(here.iter().all(|(path, _)| !is_temporary(path)), "nothing is left");
        self.gate.set(u64::MAX);
        let done = self.sync("plan").finish(DEADLINE).expect_status(0);
        assert_eq!(done.text(), "", "nothing is left to do");
    }

    /// Something of everything: files that change here and there, that come and that go.
    fn change(&self, version: usize) {
        write(&self.here("d/a"), whole("d/a", version));
        write(&self.there("d/x"), whole("d/x", version));
        let (now, before) = (version % 3, (version + 2) % 3);
        let _ = fs::remove_file(self.here(&format!("gone{before}")));
        let (sent, fetched) = (format!("gone{now}"), format!("f{now}"));
        write(&self.here(&sent), whole(&sent, version));
        write(&self.there(&fetched), whole(&fetched, version));
    }
}

#[test]
fn killed_before_any_request_it_leaves_whole_files_and_goes_on() {
    let at = Stopping::new();
    at.change(0);
    at.sync("run").finish(DEADLINE).expect_status(0);
    let mut version = 0;
    loop {
        version += 1;
        at.change(version);
        let Some(run) = at.stopped("run", version as u64 - 1) else { break };
        // With its core, and without a word.
        drop(run);
        at.all_whole(version, &format!("before request {version}"));
        at.time_passes();
        // What was begun is ended by the next one, so that each has the same to do.
        at.gate.set(u64::MAX);
        at.sync("run").finish(DEADLINE).expect_status(0);
    }
    eprintln!("killed before each of {} requests", version - 1);
    assert!(version > 30, "a sync of this has more requests than {version}");
    at.all_the_same();
}

#[test]
fn interrupted_at_any_phase_it_ends_and_goes_on_later() {
    let at = Stopping::new();
    at.change(0);
    at.sync("run").finish(DEADLINE).expect_status(0);
    for (version, after) in [2, 9, 16, 23, 30].into_iter().enumerate() {
        at.change(version + 1);
        let run = at.stopped("run", after).expect("it has as many requests");
        run.signal(Signal::INT);
        run.finish(Duration::from_secs(40)).expect_status(130);
        at.all_whole(version + 1, &format!("after {after} requests"));
        at.time_passes();
    }
    at.all_the_same();
}

#[test]
fn a_push_removes_what_a_killed_one_left() {
    let at = Stopping::new();
    write(&at.here("a"), whole("a", 0));
    at.sync("push").finish(DEADLINE).expect_status(0);
    let left = || files(&at.there("")).iter().filter(|(path, _)| is_temporary(path)).count();
    write(&at.here("big"), vec![b'x'; 3 << 20]);
    let mut after = 0;
    while left() == 0 {
        after += 1;
        drop(at.stopped("push", after).expect("a temporary file before it is done"));
    }
    // What it was for is not wanted any more: nothing reminds of it but the journal.
    fs::remove_file(at.here("big")).unwrap();
    write(&at.here("a"), whole("a", 1));
    at.gate.set(u64::MAX);
    at.sync("push").finish(DEADLINE).expect_status(0);
    assert_eq!((left(), text(&at.there("a"))), (0, whole("a", 1)));
    // Nothing is looked for when nothing was left.
    at.gate.set(u64::MAX);
    at.sync("push").finish(DEADLINE).expect_status(0);
    let few = at.gate.passed();
    at.gate.set(u64::MAX);
    at.sync("run").finish(DEADLINE).expect_status(0);
    assert!(few < at.gate.passed(), "a push does not list the node's directories");
}

#[test]
fn a_silent_node_is_left_and_tried_again() {
    let at = Stopping::new();
    let (here, there) = (at.here(""), at.there(""));
    let yaml = format!(
        "sync:\n  work:\n    target: demo1\n    stall: 2s\n    pairs:\n      - {{ local: {}, remote: {} }}\n",
        here.display(),
        there.display()
    );
    at.home.write(".config/bssh/config.yaml", yaml).unwrap();
    at.change(0);
    fs::create_dir_all(at.there("")).unwrap();
    at.gate.set(25);
    let run = at.start(&["run", "work"]);
    assert!(until(DEADLINE, || at.gate.is_held()), "it stops");
    at.gate.set(u64::MAX);
    let done = run.finish(DEADLINE).expect_status(0);
    assert!(done.stderr.contains("has not answered for 2 s; again in"), "{}", done.stderr);
    assert_eq!(files(&at.here("")), files(&at.there("")));
}

#[test]
fn an_edit_is_never_missed_however_fast_it_comes() {
    let pair = Pair::new();
    for name in ["here", "there"] {
        write(&pair.lab.home.path().join("here").join(name), "0000");
    }
    pair.sync("run", &[]).expect_status(0);
    for version in 1..=5 {
        // Of the same length and the same time: only a look inside tells.
        let said = format!("{version:04}");
        for path in [pair.here("here"), pair.there("there")] {
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, &said).unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        pair.sync("run", &[]).expect_status(0);
        let all = [pair.here("there"), pair.there("here")].map(|path| text(&path));
        assert_eq!(all, [said.clone(), said], "version {version}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_sent_again() {
    let size = 40_000_000;
    let changed_in_time = || {
        let pair = Pair::new();
        write(&pair.here("big"), vec![b'a'; size]);
        let run = Run::start(pair.lab.command(&pair.words("push", &[])));
        let sent = || {
            let names = fs::read_dir(pair.there("")).into_iter().flatten().flatten();
            let sizes = names.filter(|e| is_temporary(&e.path())).map(|e| e.metadata());
            sizes.flatten().map(|stat| stat.len()).max().unwrap_or(0)
        };
        assert!(until(DEADLINE, || sent() > 1_000_000), "it begins");
        write(&pair.here("big"), vec![b'b'; size]);
        let in_time = sent() > 0;
        run.finish(DEADLINE).expect_status(0);
        let there = fs::read(pair.there("big")).unwrap();
        let new = there.iter().filter(|byte| **byte == b'b').count();
        assert!(there.len() == size && (new == size || (new == 0 && !in_time)), "{new} new bytes");
        assert_eq!(files(&pair.there("")).len(), 1);
        in_time
    };
    // On a busy machine all of it may have been sent before it was changed.
    assert!((0..5).any(|_| changed_in_time()), "it was never changed in time");
}

/// OpenSSH's file server, which can be given a umask.
pub(super) fn server() -> &'static str {
    let server = ["/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server"];
    let server = server.iter().find(|path| std::path::Path::new(path).exists());
    server.expect("openssh-sftp-server")
}

/// A daemon that is strict about modes lets its user in by key after a push into the home, and
/// would not if the push had changed the home.
#[test]
fn a_push_into_the_home_leaves_key_logins_alone() {
    let account = super::gateways::home_of_this_account();
    let home = tempfile::Builder::new().prefix(".bssh-test-").tempdir_in(account).unwrap();
    let set = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let keys = home.path().join(".ssh/authorized_keys");
    let extra = vec![
        "StrictModes yes".to_owned(),
        format!("AuthorizedKeysFile {}", keys.display()),
        format!("Subsystem sftp {} -u 002", server()),
    ];
    let lab = Lab::with(&SshdOptions { no_sftp: true, extra, ..SshdOptions::default() });
    fs::create_dir(home.path().join(".ssh")).unwrap();
    fs::copy(lab.sshd.file("user_key.pub"), &keys).unwrap();
    set(home.path(), 0o755);
    set(&home.path().join(".ssh"), 0o700);
    set(&keys, 0o600);
    lab.home.write("work/.ssh/config", "").unwrap();
    lab.home.write("work/deep/f", "").unwrap();
    for path in ["work", "work/.ssh", "work/deep"] {
        set(&lab.home.path().join(path), 0o775);
    }
    for to in [".x", ""] {
        let mut command = lab.home.command("/bin/sh");
        command.args(["-c", "umask 002; exec \"$@\"", "sh"]).arg(bssh_tests::bssh());
        let there = format!("127.0.0.1:{}", home.path().join(to).display());
        command.arg("-F").arg(lab.sshd.ssh_config()).args(["sync", "push", "work", &there]);
        Run::start(command).finish(DEADLINE).expect_status(0);
        assert!(home.path().join(to).join(".ssh/config").exists());
        lab.run(&["-H", "127.0.0.1", "true"]).expect_status(0);
    }
    let mode = fs::metadata(home.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    set(home.path(), 0o777);
    let done = lab.run(&["-H", "127.0.0.1", "--json", "true"]);
    assert!(done.endings()["127.0.0.1"].cause().starts_with("auth/"), "{}", done.text());
}

/// Directories that were there keep their modes, whatever the umasks are: a home that others can
/// write to is one that sshd lets nobody in by key.
#[test]
fn what_was_there_keeps_its_mode() {
    let extra = vec![format!("Subsystem sftp {} -u 002", server())];
    let lab = Lab::with(&SshdOptions { no_sftp: true, extra, ..SshdOptions::default() });
    let home = lab.home.path();
    let mode = |path: &str| fs::metadata(home.join(path)).unwrap().permissions().mode() & 0o7777;
    let set = |path: &str, mode: u32| {
        fs::create_dir_all(home.join(path)).unwrap();
        fs::set_permissions(home.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    set("home", 0o755);
    set("home/.ssh", 0o700);
    set("home/.x", 0o750);
    set("work/.ssh", 0o775);
    lab.home.write("work/.ssh/config", "").unwrap();
    lab.home.write("work/deep/er/f", "").unwrap();
    for to in ["home/.x", "home/.y/z", "home"] {
        let mut command = lab.home.command("/bin/sh");
        command.args(["-c", "umask 002; exec \"$@\"", "sh"]).arg(bssh_tests::bssh());
        let there = format!("127.0.0.1:{}/{to}", home.display());
        command.arg("-F").arg(lab.sshd.ssh_config()).args(["sync", "push", "work", &there]);
        Run::start(command).finish(DEADLINE).expect_status(0);
        assert!(home.join(to).join("deep/er/f").exists());
    }
    assert_eq!([mode("home"), mode("home/.ssh"), mode("home/.x")], [0o755, 0o700, 0o750]);
}
