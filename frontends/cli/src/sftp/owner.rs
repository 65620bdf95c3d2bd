//! `chmod`, `chown`, `chgrp`: modes and owners of what a word stands for.

use super::command::Command;
use super::remote::shown;
use super::session::Session;
use super::{Trouble, failed};
use bssh_protocol::fs::{Attr, FsAttrParams};
use bssh_protocol::methods::{FsLstat, FsSetattr, FsStat};

/// What is changed.
#[derive(Clone, Copy)]
enum Change {
    Mode(u32),
    User(u32),
    Group(u32),
}

pub(super) async fn change(session: &Session<'_>, command: Command) -> Result<(), Trouble> {
    let (change, word, of_link) = match command {
        Command::Chmod { mode, path, of_link } => (Change::Mode(mode), path, of_link),
        Command::Chown { user, path, of_link } => (Change::User(user), path, of_link),
        Command::Chgrp { group, path, of_link } => (Change::Group(group), path, of_link),
        _ => return Ok(()),
    };
    let mut done = Ok(());
    for path in session.several(&word).await? {
        done = one(session, &path, change, of_link).await;
        if session.ends(&done) {
            return done;
        }
    }
    done
}

async fn one(
    session: &Session<'_>,
    path: &[u8],
    change: Change,
    of_link: bool,
) -> Result<(), Trouble> {
    let what = match change {
        Change::Mode(_) => "mode",
        Change::User(_) => "owner",
        Change::Group(_) => "group",
    };
    let (mut mode, mut owner) = (None, None);
    match change {
        Change::Mode(bits) => mode = Some(bits),
        Change::User(_) | Change::Group(_) => {
            let now = current(session, path, of_link).await?;
            let (Some(user), Some(group)) = (now.uid, now.gid) else {
                let path = shown(path);
                let text = format!("Can't get current ownership of remote file \"{path}\"");
                return Err(failed(&text));
            };
            owner = Some(match change {
                Change::User(user) => (user, group),
                Change::Group(group) => (user, group),
                Change::Mode(_) => (user, group),
            });
        }
    }
    session.remark(&format!("Changing {what} on {}", shown(path)))?;
    let at = session.remote.at(path);
    let params = FsAttrParams { at, mode, owner, times_ms: None, no_follow: of_link };
    let set = if of_link { "lsetstat" } else { "setstat" };
    let what = || format!("remote {set} \"{}\"", shown(path));
    session.remote.ask::<FsSetattr>(&params, what).await.map(drop)
}

async fn current(session: &Session<'_>, path: &[u8], of_link: bool) -> Result<Attr, Trouble> {
    let at = session.remote.at(path);
    let what = || "stat remote".to_owned();
    match of_link {
        true => session.remote.ask::<FsLstat>(&at, what).await,
        false => session.remote.ask::<FsStat>(&at, what).await,
    }
}
