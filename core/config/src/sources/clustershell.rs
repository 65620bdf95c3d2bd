//! ClusterShell's group sources: `groups.conf(5)`, `groups.conf.d/*.conf`, `groups.d/*.yaml`.
//!
//! Read from the places `clush` reads them: `/etc/clustershell`, `~/.local/etc/clustershell`,
//! `$XDG_CONFIG_HOME/clustershell`, `$CLUSTERSHELL_CFGDIR`, the last one being the strongest.
//! Nothing is run until a group of an upcall source is asked for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;

use super::ini::{key_value, sections};
use super::{MAX_FILE, Member, upcall};
use crate::clusters::read_text;
use crate::environment::Environment;
use crate::error::Error;
use crate::yaml::{Kind, Value, parse};

/// Long enough for a slow directory service.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The group sources of this machine and user.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Where names without a source are looked up.
    pub(crate) default: Option<String>,
    sources: IndexMap<String, Source>,
}

#[derive(Debug)]
enum Source {
    /// Groups and their expressions, from a YAML file.
    File(IndexMap<String, Member>),
    /// Commands that answer.
    Upcalls { map: String, all: Option<String>, list: Option<String>, directory: PathBuf },
}

impl Sources {
    /// # Errors
    /// A file that is there but cannot be read or understood.
    pub(crate) fn load(env: &Environment) -> Result<Sources, Error> {
        let mut sources = Sources::default();
        let directories: Vec<PathBuf> = config_directories(env)
            .into_iter()
            .filter(|dir| dir.join("groups.conf").is_file())
            .collect();
        let Some(strongest) = directories.last() else { return Ok(sources) };
        let (mut confdir, mut autodir) = (String::new(), String::new());
        for directory in &directories {
            let main = sources.read_conf(&directory.join("groups.conf"), strongest)?;
            for (key, value) in main {
                match key.as_str() {
                    "default" => sources.default = Some(value),
                    "confdir" | "groupsdir" => confdir = value,
                    "autodir" => autodir = value,
                    _ => {}
                }
            }
        }
        for file in files_in(&confdir, strongest, "conf") {
            sources.read_conf(&file, strongest)?;
        }
        for file in files_in(&autodir, strongest, "yaml") {
            sources.read_yaml(&file)?;
        }
        Ok(sources)
    }

    /// The members of a group; `*` and nothing are all nodes of the source.
    ///
    /// # Errors
    /// The command failed.
    pub(crate) fn group(&self, source: &str, name: &str) -> Result<Option<Vec<Member>>, Error> {
        let all = matches!(name, "" | "*");
        match self.sources.get(source) {
            None => Ok(None),
            Some(Source::File(groups)) if all => Ok(Some(match groups.get("all") {
                Some(member) => vec![member.clone()],
                None => groups.values().cloned().collect(),
            })),
            Some(Source::File(groups)) => Ok(groups.get(name).map(|member| vec![member.clone()])),
            Some(upcalls) if all => upcalls.ask_all(source).map(Some),
            Some(upcalls) => upcalls.ask(source, name),
        }
    }

    pub(crate) fn contains(&self, source: &str) -> bool {
        self.sources.contains_key(source)
    }

    /// Source and name of every group that is known without running a command.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.iter().flat_map(|(source, kind)| match kind {
            Source::File(groups) => {
                groups.keys().map(|name| (source.as_str(), name.as_str())).collect::<Vec<_>>()
            }
            Source::Upcalls { .. } => Vec::new(),
        })
    }

    /// Takes the sources of one file; what its `[Main]` says is returned.
    fn read_conf(&mut self, file: &Path, cfgdir: &Path) -> Result<Vec<(String, String)>, Error> {
        let text = read_text(file, MAX_FILE)?.unwrap_or_default();
        let directory = file.parent().unwrap_or(cfgdir);
        let mut main = Vec::new();
        for section in sections(&text) {
            let mut upcalls: IndexMap<&str, String> = IndexMap::new();
            for (line, text) in section.lines {
                let wrong = || Error::plain("expected \"key: value\"").at(file, line, 0);
                let (key, value) = key_value(text).ok_or_else(wrong)?;
                upcalls.insert(key, value.to_owned());
            }
            if section.name.eq_ignore_ascii_case("main") {
                main.extend(upcalls.into_iter().map(|(k, v)| (k.to_owned(), v)));
                continue;
            }
            let Some(map) = upcalls.get("map") else { continue };
            for name in section.name.split(',').map(str::trim) {
                let with = |text: &str| {
                    substitute(text, &[("CFGDIR", &cfgdir.to_string_lossy()), ("SOURCE", name)])
                };
                let source = Source::Upcalls {
                    map: with(map),
                    all: upcalls.get("all").map(|c| with(c)),
                    list: upcalls.get("list").map(|c| with(c)),
                    directory: directory.to_owned(),
                };
                self.sources.insert(name.to_owned(), source);
            }
        }
        Ok(main)
    }

    /// `source: { group: expression or list of expressions }`.
    fn read_yaml(&mut self, file: &Path) -> Result<(), Error> {
        let Some(text) = read_text(file, MAX_FILE)? else { return Ok(()) };
        let tree = parse(file, &text)?;
        let wrong = |what: &str, v: &Value| {
            let message = format!("expected {what}, found {}", v.describe());
            Error::plain(message).at(file, v.line, v.column)
        };
        for (source, body) in tree.entries().ok_or_else(|| wrong("a map of sources", &tree))? {
            let entries = body.entries().ok_or_else(|| wrong("a map of groups", body))?;
            let mut groups = IndexMap::new();
            for (name, value) in entries {
                let expr = match &value.kind {
                    Kind::Null => Some(String::new()),
                    Kind::Scalar(text) => Some(text.clone()),
                    Kind::List(items) => {
                        let items: Option<Vec<&str>> = items.iter().map(Value::text).collect();
                        items.map(|items| items.join(","))
                    }
                    Kind::Map(_) => None,
                };
                let expr = expr.ok_or_else(|| wrong("nodes", value))?;
                groups.insert(name.text.clone(), Member { line: value.line, ..Member::new(expr) });
            }
            self.sources.insert(source.text.clone(), Source::File(groups));
        }
        Ok(())
    }
}

impl Source {
    fn ask(&self, source: &str, group: &str) -> Result<Option<Vec<Member>>, Error> {
        let Source::Upcalls { map, directory, .. } = self else { return Ok(None) };
        // The name becomes part of a shell command.
        let safe = |c: char| c.is_alphanumeric() || "_-.+:=/@".contains(c);
        if !group.chars().all(safe) || group.starts_with('-') {
            let message = format!("group \"@{source}:{group}\": not a name for a command");
            return Err(Error::plain(message));
        }
        let nodes = answer(source, &substitute(map, &[("GROUP", group)]), directory)?;
        // An unknown group has no nodes, as far as upcalls can tell.
        Ok(Some(vec![Member::new(nodes)]).filter(|m| m.iter().any(|m| !m.expr.is_empty())))
    }

    fn ask_all(&self, source: &str) -> Result<Vec<Member>, Error> {
        let Source::Upcalls { all, list, directory, .. } = self else { return Ok(Vec::new()) };
        if let Some(all) = all {
            return Ok(vec![Member::new(answer(source, all, directory)?)]);
        }
        let Some(list) = list else {
            let message = format!("group source \"{source}\" has no \"all\" and no \"list\"");
            return Err(Error::plain(message));
        };
        let mut members = Vec::new();
        for group in answer(source, list, directory)?.split(',').filter(|g| !g.is_empty()) {
            members.extend(self.ask(source, group)?.unwrap_or_default());
        }
        Ok(members)
    }
}

/// What a command prints, words joined by commas.
fn answer(source: &str, command: &str, directory: &Path) -> Result<String, Error> {
    let output = upcall::run(command, directory, TIME_LIMIT)
        .map_err(|why| Error::plain(format!("group source \"{source}\": {why}")))?;
    Ok(output.split_whitespace().collect::<Vec<_>>().join(","))
}

/// `$NAME` and `${NAME}` for the names given; everything else is the shell's.
fn substitute(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
}

fn config_directories(env: &Environment) -> Vec<PathBuf> {
    let user = env.var("XDG_CONFIG_HOME").map_or_else(|| env.home.join(".config"), PathBuf::from);
    let mut directories = vec![
        PathBuf::from("/etc/clustershell"),
        env.home.join(".local/etc/clustershell"),
        user.join("clustershell"),
    ];
    directories.extend(env.var("CLUSTERSHELL_CFGDIR").map(PathBuf::from));
    directories
}

/// Files with an extension in a space-separated list of directories, by name.
fn files_in(directories: &str, cfgdir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for directory in directories.split_whitespace().map(|d| d.trim_matches('"')) {
        let directory = substitute(directory, &[("CFGDIR", &cfgdir.to_string_lossy())]);
        // A directory that is not there is allowed.
        let Ok(entries) = std::fs::read_dir(cfgdir.join(directory)) else { continue };
        let mut here: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|path| path.extension().is_some_and(|e| e == extension))
            .collect();
        here.sort();
        files.extend(here.into_iter().filter(|f| !files.contains(f)).collect::<Vec<_>>());
    }
    files
}
