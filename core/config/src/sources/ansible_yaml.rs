//! Ansible inventories in YAML: groups with `hosts`, `children` and `vars`.

use std::path::Path;

use super::ansible::{Inventory, expand_ranges, set_variable};
use crate::error::Error;
use crate::node::NodeOverrides;
use crate::yaml::Value;

/// # Errors
/// What does not have the shape of an inventory, with its place.
pub(super) fn read(path: &Path, value: &Value) -> Result<Inventory, Error> {
    let mut inventory = Inventory::default();
    groups(&mut inventory, value).map_err(|(message, value)| {
        Error::plain(format!("not an Ansible inventory: {message}")).at(
            path,
            value.line,
            value.column,
        )
    })?;
    Ok(inventory)
}

type Problem<'a> = (String, &'a Value);

/// Recursive as deep as the YAML tree is, which is bounded.
fn groups<'a>(inventory: &mut Inventory, value: &'a Value) -> Result<(), Problem<'a>> {
    for (name, body) in map(value)? {
        inventory.group(&name.text);
        for (key, value) in map(body)? {
            match key.text.as_str() {
                "hosts" => hosts(inventory, &name.text, value)?,
                "vars" => inventory.group(&name.text).vars = vars(value)?,
                "children" => {
                    let children = map(value)?.iter().map(|(child, _)| child.text.clone());
                    inventory.group(&name.text).children.extend(children);
                    groups(inventory, value)?;
                }
                other => return Err((format!("unknown key \"{other}\""), value)),
            }
        }
    }
    Ok(())
}

fn hosts<'a>(inventory: &mut Inventory, group: &str, value: &'a Value) -> Result<(), Problem<'a>> {
    for (pattern, body) in map(value)? {
        let vars = vars(body)?;
        let literal = pattern.text.contains("::");
        let names =
            if literal { Ok(vec![pattern.text.clone()]) } else { expand_ranges(&pattern.text) };
        for name in names.map_err(|e| (e.message, body))? {
            inventory.add_host(group, &name, vars.clone());
        }
    }
    Ok(())
}

fn vars(value: &Value) -> Result<NodeOverrides, Problem<'_>> {
    let mut vars = NodeOverrides::default();
    for (key, value) in map(value)? {
        if let Some(text) = value.text() {
            set_variable(&mut vars, &key.text, text).map_err(|e| (e.message, value))?;
        }
    }
    Ok(vars)
}

fn map(value: &Value) -> Result<&[(crate::yaml::Key, Value)], Problem<'_>> {
    value.entries().ok_or_else(|| (format!("expected a map, found {}", value.describe()), value))
}
