//! Tokens, variables and `~` expanded in the fields of [`HostOptions`] that take them.
//!
//! Which keyword takes which tokens: `man ssh_config`, section TOKENS. What a value becomes is not
//! expanded again.

use std::path::{Path, PathBuf};

use super::eval::{Chosen, Evaluation};
use super::forwards::Spec;
use super::options::{Forward, HostOptions, JumpHost};
use super::tokens::{Tokens, USUAL, variables};
use crate::error::Error;

/// Values that `ssh -G` prints expanded: keyword and text.
pub(super) type Shown = Vec<(&'static str, String)>;

/// Expands in place; what could not be expanded is an error and becomes empty.
pub(super) fn expand(
    options: &mut HostOptions,
    evaluation: &Evaluation<'_>,
) -> (Shown, Vec<Error>) {
    let (host, original) = (options.hostname.clone(), options.original.clone());
    let (user, alias) = (options.user.clone(), options.host_key_alias.clone());
    let jump = options.proxy_jump.last().map(jump_text).unwrap_or_default();
    let tokens = Tokens {
        env: evaluation.env,
        host: &host,
        original: &original,
        port: options.port,
        user: &user,
        key_alias: alias.as_deref().unwrap_or(&original),
        jump: &jump,
    };
    let chosen = &evaluation.chosen;
    let explain = evaluation.request.explain;
    let mut expansion =
        Expansion { tokens, chosen, explain, shown: Vec::new(), errors: Vec::new() };
    expansion.files(options);
    expansion.agents(options);
    expansion.commands(options);
    expansion.forwards(options);
    (expansion.shown, expansion.errors)
}

/// Only who connects expands these.
const SHOWN_AS_WRITTEN: [&str; 6] = [
    "identityfile",
    "certificatefile",
    "globalknownhostsfile",
    "revokedhostkeys",
    "knownhostscommand",
    "proxycommand",
];

struct Expansion<'a> {
    tokens: Tokens<'a>,
    chosen: &'a Chosen<'a>,
    explain: bool,
    shown: Shown,
    errors: Vec<Error>,
}

impl Expansion<'_> {
    fn keep(&mut self, name: &'static str, result: Result<String, String>) -> String {
        result.unwrap_or_else(|why| {
            if self.explain && SHOWN_AS_WRITTEN.contains(&name) {
                return String::new();
            }
            let why = format!("{name}: {why}");
            self.errors.push(match self.chosen.get(name) {
                Some(setting) => setting.place.error(why),
                None => Error::plain(why),
            });
            String::new()
        })
    }

    fn files(&mut self, options: &mut HostOptions) {
        for (name, files) in [
            ("identityfile", &mut options.identity_files),
            ("certificatefile", &mut options.certificate_files),
            ("userknownhostsfile", &mut options.user_known_hosts_files),
            ("globalknownhostsfile", &mut options.global_known_hosts_files),
        ] {
            for file in files.iter_mut().filter(|file| needs_expansion(file)) {
                let path = self.tokens.path(&file.to_string_lossy());
                *file = self.keep(name, path).into();
            }
        }
        for (name, file) in [
            ("controlpath", &mut options.control_path),
            ("revokedhostkeys", &mut options.revoked_host_keys),
        ] {
            if let Some(file) = file.as_mut().filter(|file| needs_expansion(file)) {
                let path = self.tokens.path(&file.to_string_lossy());
                let text = self.keep(name, path);
                *file = PathBuf::from(&text);
                if name == "controlpath" {
                    self.shown.push((name, text));
                }
            }
        }
    }

    /// Paths, `$VARIABLE`, or the words `SSH_AUTH_SOCK` and (already gone) `none`.
    fn agents(&mut self, options: &mut HostOptions) {
        for (name, socket) in [
            ("identityagent", &mut options.identity_agent),
            ("forwardagent", &mut options.forward_agent),
        ] {
            if self.chosen.get(name).is_none() {
                continue;
            }
            let Some(text) = socket.take().map(|path| path.to_string_lossy().into_owned()) else {
                continue;
            };
            let variable = match text.strip_prefix('$') {
                Some(rest) if !rest.starts_with('{') => Some(rest),
                _ => Some(text.as_str()).filter(|text| *text == "SSH_AUTH_SOCK"),
            };
            *socket = match variable {
                Some(variable) => self.tokens.env.var(variable).map(PathBuf::from),
                None => {
                    let path = self.tokens.path(&text);
                    let text = self.keep(name, path);
                    self.shown.push((name, text.clone()));
                    Some(text.into())
                }
            };
        }
    }

    fn commands(&mut self, options: &mut HostOptions) {
        for (name, command, letters, kept) in [
            ("remotecommand", &mut options.remote_command, USUAL, ""),
            ("proxycommand", &mut options.proxy_command, "hnpr", ""),
            ("localcommand", &mut options.local_command, "CLdhijklnpruT", ""),
            ("knownhostscommand", &mut options.known_hosts_command, USUAL, "fHIKt"),
        ] {
            let Some(text) = command else { continue };
            if name == "localcommand" && !options.permit_local_command {
                continue;
            }
            let expanded = self.tokens.percent(text, letters, kept);
            *text = self.keep(name, expanded);
            if name == "remotecommand" {
                self.shown.push((name, text.clone()));
            }
        }
    }

    fn forwards(&mut self, options: &mut HostOptions) {
        for (name, forwards) in [
            ("localforward", &mut options.local_forwards),
            ("remoteforward", &mut options.remote_forwards),
            ("dynamicforward", &mut options.dynamic_forwards),
        ] {
            for forward in forwards.iter_mut().filter(|f| f.spec.contains(['%', '$'])) {
                let spec = self.forward(forward, name);
                forward.spec = self.keep(name, spec);
            }
        }
    }

    /// Variables anywhere, tokens only in socket paths.
    fn forward(&self, forward: &Forward, name: &str) -> Result<String, String> {
        let remote = name == "remoteforward";
        let text = variables(&forward.spec, self.tokens.env)?;
        let spec = Spec::parse(&text, name == "dynamicforward", remote)
            .or_else(|| remote.then(|| Spec::parse(&text, true, true)).flatten());
        let spec = spec.ok_or_else(|| format!("bad forwarding specification \"{text}\""))?;
        Ok(spec.with_paths(|path| self.tokens.percent(path, USUAL, ""))?.spec())
    }
}

fn needs_expansion(file: &Path) -> bool {
    let bytes = file.as_os_str().as_encoded_bytes();
    bytes.starts_with(b"~") || bytes.iter().any(|b| matches!(b, b'%' | b'$'))
}

fn jump_text(hop: &JumpHost) -> String {
    let user = hop.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let port = hop.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{user}{}{port}", hop.host)
}
