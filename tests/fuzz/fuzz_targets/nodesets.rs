//! Node set expressions: no panic, no endless work, and what is folded means the same again.

#![no_main]

use bssh_config::nodeset::{NoGroups, check, expand, fold};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = check(text);
    let Ok(set) = expand(text, &NoGroups) else { return };
    if set.len() > 2000 {
        return;
    }
    let folded = fold(set.iter());
    let again = expand(&folded, &NoGroups).unwrap_or_else(|e| panic!("{text:?}: {folded:?}: {e}"));
    let mut names: [Vec<&str>; 2] = [set.iter().collect(), again.iter().collect()];
    names.iter_mut().for_each(|names| names.sort_unstable());
    assert_eq!(names[0], names[1], "{text:?} folded to {folded:?}");
});
