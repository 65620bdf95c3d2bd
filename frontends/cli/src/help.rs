//! `--help`, `bssh help TOPIC`, the manual pages and the completion scripts: one screen a topic.
//!
//! All of them are made from the parser's own tables. `--help` shows the subcommands; the options
//! that every subcommand takes are topics.

use crate::args::Args;
use clap::{Command, CommandFactory};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// A topic: its name, the heading of the options it shows, what it is about, and more to know.
struct Topic {
    name: &'static str,
    heading: &'static str,
    about: &'static str,
    more: &'static str,
}

const TOPICS: &[Topic] = &[
    Topic {
        name: "targets",
        heading: "Targets",
        about: "which nodes are meant",
        more: "\
Expressions are separated by commas and read from left to right:
  web[1-3]            web1 web2 web3; also n[01-10/2], rack[1-2]node[1-4]
  user@host:2222      with user and port; user@[fe80::1]:22 for IPv6
  @web, @slurm:gpu    a group, a group of a source, @* everything; ^FILE: one a line
                      (^\"a,b\" if its name has what means something here)
  A!B  A&B  A^B       A without B, both, either but not both
  @ok @failed @unreachable   nodes of the last run; @job:3.failed: of a job
Names come from the configuration's clusters, ssh_config (@ssh:), ClusterShell's groups, Ansible's
inventories, Slurm, PBS and Backend.AI: `bssh list` shows groups, `bssh nodes expand`
shows what an expression means, `bssh explain NODE` how a node is reached.",
    },
    Topic {
        name: "connection",
        heading: "Connection",
        about: "how nodes are reached",
        more: "\
~/.ssh/config, known_hosts and the agent count as they do for ssh. `bssh explain NODE` shows every
value and where it comes from.",
    },
    Topic {
        name: "run",
        heading: "Run",
        about: "how commands run",
        more: "",
    },
    Topic {
        name: "output",
        heading: "Output",
        about: "what is shown",
        more: "",
    },
    Topic {
        name: "exit",
        heading: "",
        about: "exit statuses, and how --exit-code changes them",
        more: "\
  0    all nodes ok
  1    general failure
  2    usage or configuration
  3    no node could be reached
  4    no node let us in
  5    the command ran on every node and failed on at least one
  10   some nodes were not reached, denied, lost or cancelled
  130  interrupted
  141  output closed
--exit-code max: the greatest status of any node; main: the first node's; ssh: as ssh, 255 for a node
without a status. `bssh host command` gives the command's own status, 255 for our own failures.",
    },
    Topic {
        name: "environment",
        heading: "",
        about: "variables that count",
        more: "\
  BSSH_CONFIG                  the YAML configuration to read
  BSSH_PERSIST                 as --persist
  BSSH_PASSWORD                the answer to password questions; not passed on to anything
  BSSH_CONNECT_TIMEOUT         as --connect-timeout, in seconds
  BSSH_MAX_PARALLEL            as --fanout
  BSSH_CORE                    the executable to start as the core
  SSH_AUTH_SOCK, SSH_ASKPASS, SSH_ASKPASS_REQUIRE, DISPLAY, TERM   as for ssh
  NO_COLOR, CLICOLOR_FORCE     no colours, colours everywhere
  XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR   where configuration, state and socket are",
    },
];

/// What `--help` shows for these words: the page of the subcommand they name, or the first page.
pub(crate) fn asked_for(words: &[OsString]) -> String {
    let root = built();
    let mut path = Vec::new();
    let mut at = &root;
    for word in words.iter().filter_map(|word| word.to_str()) {
        if let Some(sub) = at.find_subcommand(word) {
            path.push(sub.get_name().to_owned());
            at = sub;
        }
    }
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    page(&root, &names)
}

/// `bssh help [NAME…]`: a topic, or a subcommand.
///
/// # Errors
/// There is no such page; the text says what there is.
pub(crate) fn about(names: &[String]) -> Result<String, String> {
    let root = built();
    if let [name] = names
        && let Some(topic) = TOPICS.iter().find(|topic| topic.name == name)
    {
        return Ok(topic_page(&root, topic));
    }
    let mut at = &root;
    for name in names {
        at = at.find_subcommand(name).ok_or_else(|| {
            let topics: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
            format!("no help on {name:?}\nhint: a subcommand, or {}", topics.join(", "))
        })?;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(page(&root, &names))
}

/// Manual pages: bssh(1) with everything, and one for each subcommand. The directory is made if
/// it is missing.
///
/// # Errors
/// A page cannot be written: which, and why.
pub(crate) fn write_manual(directory: &Path) -> io::Result<()> {
    let at = |path: &Path, e: io::Error| {
        io::Error::new(e.kind(), format!("cannot write {}: {e}", path.display()))
    };
    std::fs::create_dir_all(directory).map_err(|e| at(directory, e))?;
    let root = built();
    let subs = root.get_subcommands().filter(|sub| !sub.is_hide_set());
    for sub in std::iter::once(None).chain(subs.map(|sub| Some(sub.get_name()))) {
        let name = sub.map_or("bssh.1".to_owned(), |sub| format!("bssh-{sub}.1"));
        let path = directory.join(name);
        std::fs::write(&path, manual(sub)?).map_err(|e| at(&path, e))?;
    }
    Ok(())
}

/// A manual page (roff): bssh(1), or that of a subcommand.
///
/// # Errors
/// There is no such subcommand.
pub(crate) fn manual(sub: Option<&str>) -> io::Result<Vec<u8>> {
    let root = built();
    let mut text = Vec::new();
    match sub {
        None => {
            let mut more = String::from(crate::args::AFTER_HELP);
            for topic in TOPICS.iter().filter(|topic| !topic.more.is_empty()) {
                // Writing to a String does not fail.
                let _ = write!(more, "\n\n{}: {}.\n{}", topic.name, topic.about, topic.more);
            }
            clap_mangen::Man::new(root.after_help(more)).render(&mut text)?;
        }
        Some(name) => {
            let unknown = || io::Error::other(format!("no subcommand {name:?}"));
            let sub = root.find_subcommand(name).ok_or_else(unknown)?;
            let own = without_globals(sub.clone());
            clap_mangen::Man::new(own.after_help(SEE)).render(&mut text)?;
        }
    }
    Ok(text)
}

/// The whole of `--help`, topic by topic and subcommand by subcommand, as a document.
#[cfg(test)]
pub(crate) fn document() -> String {
    fn pages(root: &Command, at: &Command, path: &[&str], text: &mut String) {
        for sub in at.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let path: Vec<&str> = path.iter().copied().chain([sub.get_name()]).collect();
            let page = page(root, &path);
            let _ = write!(text, "\n## bssh {}\n\n```\n{}\n```\n", path.join(" "), page.trim_end());
            pages(root, sub, &path, text);
        }
    }
    let root = built();
    let mut text = String::from(
        "# The command line\n\n<!-- Generated from the parser; `BSSH_BLESS=1 cargo test -p bssh-cli` writes it. -->\n\n\
         `bssh --help`, `bssh help TOPIC` and `bssh help SUBCOMMAND`, page by page.\n\
         ssh's own grammar is in [ssh-flags](ssh-flags.md), sftp's in [sftp](sftp.md).\n",
    );
    let _ = write!(text, "\n## bssh\n\n```\n{}\n```\n", page(&root, &[]).trim_end());
    for topic in TOPICS {
        let page = topic_page(&root, topic);
        let _ = write!(text, "\n## bssh help {}\n\n```\n{}\n```\n", topic.name, page.trim_end());
    }
    pages(&root, &root, &[], &mut text);
    text
}

/// Under the page of a subcommand.
const SEE: &str = "Options of every subcommand: bssh help targets, connection, run, output.";

fn built() -> Command {
    let mut root = Args::command();
    root.build();
    root
}

/// The page of a subcommand (none: the first page) without what the topics show.
fn page(root: &Command, names: &[&str]) -> String {
    let mut at = root;
    for name in names {
        at = at.find_subcommand(name).unwrap_or(at);
    }
    let own = without_globals(at.clone());
    match names.is_empty() {
        true => own.after_help(first_page_end()).render_help().to_string(),
        false => {
            let more = at.get_after_help().map(|more| format!("{more}\n\n")).unwrap_or_default();
            own.after_help(format!("{more}{SEE}")).render_help().to_string()
        }
    }
}

fn first_page_end() -> String {
    let mut text = String::from("Topics:\n");
    for topic in TOPICS {
        let _ = writeln!(text, "  bssh help {:<12} {}", topic.name, topic.about);
    }
    text.push('\n');
    text.push_str(crate::args::AFTER_HELP);
    text
}

fn without_globals(command: Command) -> Command {
    command.mut_args(|arg| {
        let topical = TOPICS.iter().any(|topic| arg.get_help_heading() == Some(topic.heading));
        let hidden = arg.is_hide_set() || arg.is_global_set() || topical;
        match arg.get_id().as_str() {
            "help" => arg.help("Print help"),
            _ => arg.hide(hidden),
        }
    })
}

fn topic_page(root: &Command, topic: &Topic) -> String {
    let shown = |arg: &&clap::Arg| arg.get_help_heading() == Some(topic.heading);
    let options: Vec<clap::Arg> = root.get_arguments().filter(shown).cloned().collect();
    let mut text = format!("bssh help {}: {}\n\n", topic.name, topic.about);
    if !options.is_empty() {
        let mut page = Command::new("bssh")
            .disable_help_flag(true)
            .max_term_width(100)
            .help_template("{all-args}")
            .args(options);
        text.push_str(page.render_help().to_string().trim_end());
        text.push_str("\n\n");
    }
    text.push_str(topic.more);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a terminal, but for the prompt.
    const SCREEN: usize = 60;

    #[test]
    fn a_topic_fits_a_screen() {
        let mut pages = vec![asked_for(&[])];
        pages.extend(TOPICS.iter().map(|t| about(&[t.name.to_owned()]).unwrap()));
        let subs = built();
        pages.extend(subs.get_subcommands().map(|s| asked_for(&[s.get_name().into()])));
        for page in pages {
            let lines = page.lines().count();
            assert!(lines <= SCREEN, "{lines} lines:\n{page}");
        }
    }

    #[test]
    fn words_lead_to_their_page() {
        let page = asked_for(&["-H".into(), "a".into(), "sync".into(), "plan".into()]);
        assert!(page.contains("bssh sync plan"), "{page}");
        assert!(!page.contains("--fanout"), "{page}");
        assert!(about(&["run".into()]).unwrap().contains("--fanout"));
        assert!(about(&["gate".into(), "check".into()]).unwrap().contains("--from-sandbox"));
        assert!(about(&["nothing".into()]).unwrap_err().contains("targets"));
    }

    #[test]
    fn every_option_is_on_a_page() {
        let root = built();
        for arg in root.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set()) {
            let heading = arg.get_help_heading();
            let plain = heading.is_none() && ["help", "version"].contains(&arg.get_id().as_str());
            let topical = TOPICS.iter().any(|topic| heading == Some(topic.heading));
            assert!(plain || topical, "{}", arg.get_id());
        }
    }

    #[test]
    fn the_manual_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let man1 = directory.path().join("man/man1");
        write_manual(&man1).unwrap();
        let read = |name: &str| std::fs::read_to_string(man1.join(name)).unwrap();
        assert!(read("bssh.1").contains("fanout"));
        assert!(read("bssh-upload.1").contains("resume"));
        let no_directory = man1.join("bssh.1");
        let why = write_manual(&no_directory).unwrap_err().to_string();
        assert!(why.starts_with(&format!("cannot write {}: ", no_directory.display())), "{why}");
    }

    #[test]
    fn the_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let now = document();
        #[allow(clippy::disallowed_methods, reason = "how every generated file is written")]
        if std::env::var_os("BSSH_BLESS").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap_or_default() == now,
            "docs/cli.md is stale; BSSH_BLESS=1 cargo test -p bssh-cli writes it"
        );
    }
}
