//! Batch systems: the nodes of the job that this process runs in.
//!
//! Slurm names them in `SLURM_JOB_NODELIST` in its own range syntax, of which ours is a superset;
//! PBS in a file with a line per task, so that nodes repeat.

use super::{MAX_FILE, Member};
use crate::clusters::read_text;
use crate::environment::Environment;
use crate::error::Error;

/// The job's nodes; `None` outside of a Slurm job.
pub(crate) fn slurm(env: &Environment) -> Option<Vec<Member>> {
    let list = env.var("SLURM_JOB_NODELIST").or_else(|| env.var("SLURM_NODELIST"))?;
    Some(vec![Member::new(list)])
}

/// The job's nodes; `None` outside of a PBS job.
///
/// # Errors
/// The file that `PBS_NODEFILE` names cannot be read.
pub(crate) fn pbs(env: &Environment) -> Result<Option<Vec<Member>>, Error> {
    let Some(path) = env.var("PBS_NODEFILE") else { return Ok(None) };
    let path = env.cwd.join(path);
    let missing = || Error::plain("no such file (PBS_NODEFILE)").at(&path, 0, 0);
    let text = read_text(&path, MAX_FILE)?.ok_or_else(missing)?;
    let lines = text.lines().enumerate().map(|(i, l)| (i as u32 + 1, l.trim()));
    let mut seen = std::collections::HashSet::new();
    Ok(Some(
        lines
            .filter(|(_, l)| !l.is_empty() && seen.insert(*l))
            .map(|(line, l)| Member { line, ..Member::new(l) })
            .collect(),
    ))
}
