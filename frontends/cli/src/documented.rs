//! Every command line in the documents is one that is understood.

use crate::args::Args;
use crate::grammar::{Grammar, decide};
use clap::error::ErrorKind;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The words of each command of a line of shell, as far as the documents use it.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let (mut word, mut quote) = (None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (' ' | '|' | ';' | '&' | '>' | '<' | '(' | ')', None) => {
                all.last_mut().unwrap().extend(word.take());
                match c {
                    // A file's name, not the command's.
                    '>' | '<' => all.push(vec!["redirection".to_owned()]),
                    ' ' => {}
                    _ => all.push(Vec::new()),
                }
            }
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    all.last_mut().unwrap().extend(word);
    all
}

/// What is wrong with a command line. In running text one may stop at the subcommand.
fn wrong(words: &[String], fenced: bool) -> Option<String> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    match decide(OsStr::new("bssh"), &words) {
        Grammar::Cluster | Grammar::ClusterIfKnown(_) => {
            let error = Args::read(&words).err().filter(clap::Error::use_stderr)?;
            let short = matches!(
                error.kind(),
                ErrorKind::MissingRequiredArgument
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                    | ErrorKind::MissingSubcommand
                    // A flag that stands for itself.
                    | ErrorKind::InvalidValue
            );
            let elsewhere = ["core", "demo"].map(OsStr::new).contains(&words[0].as_os_str());
            (!elsewhere && (fenced || !short)).then(|| error.to_string())
        }
        Grammar::Refused(why) => (words[0] != "demo").then_some(why),
        Grammar::Ssh | Grammar::Sftp => None,
    }
}

#[test]
fn every_command_line_in_the_documents_is_understood() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![top.join("README.md")];
    let docs = std::fs::read_dir(top.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    files.extend(docs.filter(|path| path.extension() == Some(OsStr::new("md"))));
    let (mut seen, mut mistakes) = (0, String::new());
    for file in files.iter().filter(|file| !file.ends_with("cli.md")) {
        let text = std::fs::read_to_string(file).unwrap();
        let mut fenced = false;
        for (number, line) in text.lines().enumerate() {
            if line.starts_with("```") {
                fenced = !fenced && line == "```sh";
                continue;
            }
            // In a block, or one of the code spans of a line of text.
            let lines: Vec<&str> = match fenced {
                true => vec![line],
                false => line.split('`').skip(1).step_by(2).collect(),
            };
            for words in lines.into_iter().flat_map(commands) {
                let Some((first, rest)) = words.split_first() else { continue };
                // What is cut short or a synopsis cannot be checked.
                let part = |word: &String| word == "…" || word.starts_with('[');
                let whole = !rest.iter().any(part);
                if first == "bssh" && !rest.is_empty() && (whole || fenced) {
                    seen += 1;
                    if let Some(why) = wrong(rest, fenced) {
                        let (file, line) = (file.display(), number + 1);
                        mistakes.push_str(&format!("{file}:{line}: {rest:?}\n{why}\n"));
                    }
                }
            }
        }
    }
    assert!(mistakes.is_empty(), "{mistakes}");
    assert!(seen > 100, "only {seen} command lines were found");
}
