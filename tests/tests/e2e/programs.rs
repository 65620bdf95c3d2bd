//! Programs that use ssh, with bssh in its place: git, rsync, scp, sftp, Ansible, ssh-copy-id,
//! ssh itself, and full-screen programs on the node.

use bssh_fixtures::SshdOptions;
use bssh_tests::{Lab, Run, Terminal, Transcript, bssh, until};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(180);

/// `bin/ssh` in the lab's home, which is bssh.
fn ssh(lab: &Lab) -> PathBuf {
    let bin = lab.home.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let link = bin.join("ssh");
    if !link.exists() {
        std::os::unix::fs::symlink(bssh(), &link).unwrap();
    }
    link
}

#[track_caller]
fn done(command: Command) -> Transcript {
    Run::start(command).finish(MINUTES).expect_status(0)
}

/// A program in the lab's home.
fn program<const N: usize>(lab: &Lab, name: &str, words: [&str; N]) -> Command {
    let mut command = lab.home.command(name);
    command.args(words);
    command
}

#[test]
fn git_clones_fetches_and_pushes() {
    let lab = Lab::start();
    let config = lab.sshd.ssh_config();
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    let git = |dir: &str, by: &str, words: &[&str]| {
        let mut command = lab.home.command("git");
        command.args(["-C", dir]).args(identity);
        match by {
            "environment" => {
                let ssh = format!("{} ssh -F {}", bssh().display(), config.display());
                command.env("GIT_SSH_COMMAND", ssh)
            }
            _ => {
                let ssh = format!("{} -F {}", ssh(&lab).display(), config.display());
                command.arg("-c").arg(format!("core.sshCommand={ssh}"))
            }
        };
        command.args(words);
        done(command).text()
    };
    let origin = lab.home.path().join("origin.git");
    let url = format!("ssh://127.0.0.1:{}{}", lab.sshd.port(), origin.display());
    git(".", "environment", &["init", "-q", "--bare", "origin.git"]);
    git(".", "environment", &["clone", "-q", &url, "one"]);
    let noise: Vec<u8> =
        (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    lab.home.write("one/file", &noise).unwrap();
    git("one", "environment", &["add", "file"]);
    git("one", "environment", &["commit", "-qm", "first"]);
    git("one", "environment", &["push", "-q", "origin", "HEAD"]);
    git(".", "configuration", &["clone", "-q", &url, "two"]);
    assert!(std::fs::read(lab.home.path().join("two/file")).unwrap() == noise);
    lab.home.write("two/more", "x").unwrap();
    git("two", "configuration", &["add", "more"]);
    git("two", "configuration", &["commit", "-qm", "second"]);
    git("two", "configuration", &["push", "-q", "origin", "HEAD"]);
    git("one", "environment", &["fetch", "-q"]);
    let log = git("one", "environment", &["log", "--format=%s", "--all", "--topo-order"]);
    assert_eq!(log, "second\nfirst\n");
}

/// 2000 small files in 40 directories, a link, a script, and one file of 64 MiB.
fn tree(dir: &Path) {
    for n in 0..40 {
        let sub = dir.join(format!("d{n}"));
        std::fs::create_dir_all(&sub).unwrap();
        for m in 0..50 {
            std::fs::write(sub.join(format!("file {m}")), format!("{n}/{m}\n").repeat(m + 1))
                .unwrap();
        }
    }
    let big: Vec<u8> =
        (0..64_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(dir.join("big"), big).unwrap();
    std::os::unix::fs::symlink("big", dir.join("link")).unwrap();
}

#[track_caller]
fn same(lab: &Lab, one: &str, two: &str) {
    done(program(lab, "diff", ["-r", "--no-dereference", one, two]));
}

#[test]
fn rsync_goes_both_ways() {
    let lab = Lab::start();
    tree(&lab.home.path().join("here"));
    let home = lab.home.path().display();
    let shell = format!("{} ssh -F {}", bssh().display(), lab.sshd.ssh_config().display());
    let rsync = |from: &str, to: &str| {
        done(program(&lab, "rsync", ["-a", "--delete", "--stats", "-e", &shell, from, to])).text()
    };
    rsync("here/", &format!("127.0.0.1:{home}/there/"));
    same(&lab, "here", "there");
    rsync(&format!("127.0.0.1:{home}/there/"), "back/");
    same(&lab, "here", "back");
    let again = rsync("here/", &format!("127.0.0.1:{home}/there/"));
    assert!(again.contains("Number of regular files transferred: 0"), "{again}");
}

#[test]
fn rsync_carries_ten_thousand_files_both_ways() {
    let lab = Lab::start();
    let (home, ssh) = (lab.home.path().display(), ssh(&lab));
    let remote = format!("{} -F {}", ssh.display(), lab.sshd.ssh_config().display());
    for n in 0..100 {
        let sub = lab.home.path().join(format!("many/{n}"));
        std::fs::create_dir_all(&sub).unwrap();
        for m in 0..100 {
            std::fs::write(sub.join(format!("{m}")), format!("{n}/{m}")).unwrap();
        }
    }
    let rsync = |from: &str, to: &str| {
        done(program(&lab, "rsync", ["-a", "--stats", "-e", &remote, from, to])).text()
    };
    let up = rsync("many/", &format!("127.0.0.1:{home}/there/"));
    assert!(up.contains("Number of regular files transferred: 10,000"), "{up}");
    rsync(&format!("127.0.0.1:{home}/there/"), "back/");
    same(&lab, "many", "back");
}

#[test]
fn scp_and_sftp_take_it_as_their_ssh() {
    let lab = Lab::start();
    let (home, ssh) = (lab.home.path().display(), ssh(&lab));
    let (config, ssh) = (lab.sshd.ssh_config(), ssh.display().to_string());
    let config = config.display().to_string();
    let bytes: Vec<u8> =
        (0..9_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    lab.home.write("some/file", &bytes).unwrap();
    lab.home.write("some/sub/empty", "").unwrap();
    for (n, mode) in ["-s", "-O"].iter().enumerate() {
        let (up, down) = (format!("127.0.0.1:{home}/up{n}"), format!("down{n}"));
        let scp = |from: &str, to: &str| {
            done(program(
                &lab,
                "scp",
                ["-q", mode, "-r", "-p", "-F", &config, "-S", &ssh, from, to],
            ))
        };
        scp("some", &up);
        same(&lab, "some", &format!("up{n}"));
        scp(&up, &down);
        same(&lab, "some", &down);
    }
    let batch = format!("put some/file {home}/put\nget {home}/put got\nls {home}\n");
    let mut sftp = Run::start(program(
        &lab,
        "sftp",
        ["-q", "-b", "-", "-F", &config, "-S", &ssh, "127.0.0.1"],
    ));
    assert!(sftp.write(batch.as_bytes()));
    sftp.finish(MINUTES).expect_status(0);
    assert!(std::fs::read(lab.home.path().join("got")).unwrap() == bytes);
}

#[test]
fn ansible_runs_modules_and_copies_files() {
    let lab = Lab::start();
    let playbook = format!(
        "- hosts: all\n  gather_facts: false\n  tasks:\n  - ping:\n  - copy: {{src: {home}/a, dest: {home}/b, mode: '0644'}}\n  - command: cat {home}/b\n    register: out\n  - fetch: {{src: {home}/b, dest: {home}/c, flat: true}}\n",
        home = lab.home.path().display(),
    );
    lab.home.write("a", "hello\n").unwrap();
    lab.home.write("play.yml", playbook).unwrap();
    let arguments = format!("-F {}", lab.sshd.ssh_config().display());
    let mut ansible = program(&lab, "ansible-playbook", ["-i", "127.0.0.1,", "play.yml"]);
    ansible
        .env("ANSIBLE_SSH_EXECUTABLE", ssh(&lab))
        .env("ANSIBLE_SSH_ARGS", "-o ControlMaster=auto -o ControlPersist=60s")
        .env("ANSIBLE_SSH_COMMON_ARGS", arguments)
        .env("ANSIBLE_SSH_TRANSFER_METHOD", "piped")
        .env("ANSIBLE_HOME", lab.home.path().join("ansible"))
        .env("ANSIBLE_LOCAL_TEMP", lab.home.path().join("ansible/local"))
        .env("ANSIBLE_REMOTE_TEMP", lab.home.path().join("ansible/remote"));
    let said = done(ansible).text();
    assert!(said.contains("ok=4") && said.contains("unreachable=0"), "{said}");
    assert_eq!(std::fs::read(lab.home.path().join("c")).unwrap(), b"hello\n");
}

#[test]
fn ssh_copy_id_installs_a_key_once() {
    let there = bssh_fixtures::Home::new().unwrap();
    // The first SetEnv counts: the key goes into a home of its own.
    let extra = vec![format!("SetEnv SHLVL=9 HOME={}", there.path().display())];
    let lab = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
    let bin = ssh(&lab);
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.parent().unwrap().display());
    let socket = lab.home.path().join("agent");
    let socket = socket.to_str().unwrap();
    let _agent = Run::start(program(&lab, "ssh-agent", ["-D", "-a", socket]));
    assert!(until(MINUTES, || Path::new(socket).exists()));
    let mut add = program(&lab, "ssh-add", ["-q"]);
    add.arg(lab.sshd.user_key()).env("SSH_AUTH_SOCK", socket);
    done(add);
    done(program(&lab, "ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", "new"]));
    let mut options = String::new();
    for (key, value) in [
        ("UserKnownHostsFile", lab.sshd.known_hosts().display().to_string()),
        ("StrictHostKeyChecking", "yes".to_owned()),
        ("BatchMode", "yes".to_owned()),
    ] {
        let _ = writeln!(options, "{key} {value}");
    }
    lab.home.write(".ssh/config", options).unwrap();
    let port = lab.sshd.port().to_string();
    let target = format!("{}@127.0.0.1", lab.sshd.user());
    let mut copy = program(&lab, "ssh-copy-id", ["-i", "new.pub", "-p", &port, &target]);
    copy.env("PATH", &path).env("SSH_AUTH_SOCK", socket);
    done(copy);
    let key = std::fs::read_to_string(lab.home.path().join("new.pub")).unwrap();
    let installed = std::fs::read_to_string(there.path().join(".ssh/authorized_keys")).unwrap();
    assert_eq!(installed, key);
}

#[test]
fn the_real_ssh_goes_through_it() {
    let lab = Lab::start();
    let config = lab.sshd.ssh_config();
    let through = format!("{} ssh -F {} -W %h:%p 127.0.0.1", bssh().display(), config.display());
    let mut real = lab.home.command("ssh");
    real.arg("-F").arg(&config).arg("-o").arg(format!("ProxyCommand={through}"));
    real.args(["127.0.0.2", "echo $SSH_CONNECTION; head -c 3000000 /dev/zero | wc -c; exit 7"]);
    let said = Run::start(real).finish(MINUTES).expect_status(7).text();
    assert!(said.contains("127.0.0.2") && said.ends_with("3000000\n"), "{said}");
}

#[test]
fn tmux_runs_under_the_terminal_and_follows_its_size() {
    let lab = Lab::start();
    let tmux = format!("tmux -u -S {}/tmux -f /dev/null", lab.home.path().display());
    let loop_ = "while read line; do stty size; done";
    let mut terminal = Terminal::start(&lab.command(&[
        "-t",
        "127.0.0.1",
        &format!("{tmux} new-session 'echo up; {loop_}'"),
    ]));
    terminal.wait_for("up", MINUTES);
    terminal.write("\r");
    // The last line is tmux's own.
    terminal.wait_for("23 80", MINUTES);
    terminal.resize(50, 132);
    // Asked again until tmux has heard of it.
    assert!(until(MINUTES, || {
        terminal.write("\r");
        terminal.has("49 132", Duration::from_millis(200))
    }));
    terminal.write("\x04");
    terminal.wait_for("[exited]", MINUTES);
    assert_eq!(terminal.finish(MINUTES), Some(0));
    assert!(terminal.echoes());
}

#[test]
fn vim_edits_a_file_under_the_terminal() {
    let lab = Lab::start();
    let file = lab.home.path().join("text");
    let size = lab.home.path().join("size");
    let vim = format!("vim -N -u NONE -n {}", file.display());
    let mut terminal = Terminal::start(&lab.command(&["-t", "127.0.0.1", &vim]));
    terminal.wait_for("\x1b[?1049h", MINUTES);
    terminal.resize(40, 100);
    assert!(until(MINUTES, || {
        terminal.write(&format!(":call writefile([&lines.'x'.&columns],'{}')\r", size.display()));
        terminal.has("E492", Duration::from_millis(200));
        std::fs::read(&size).is_ok_and(|text| text == b"40x100\n")
    }));
    terminal.write("ihell\u{f6} ~. world\x1b:wq\r");
    assert_eq!(terminal.finish(MINUTES), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "hell\u{f6} ~. world\n");
    assert!(terminal.echoes());
}
