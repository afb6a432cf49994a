//! The generated parts of the documentation: the schema of the file, and the tables of docs/configuration.md.

use std::fmt::Write as _;

use clap::{Arg, CommandFactory as _};
use scangate_server::{cli::Cli, config::file};
use serde_json::Value;

/// The JSON Schema of the file, as text.
pub(crate) fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&file::schema()).unwrap();
    text.push('\n');
    text
}

/// A table of the flags of `serve`.
pub(crate) fn flags() -> String {
    let mut cli = Cli::command();
    // Options of all subcommands become those of each.
    cli.build();
    let serve = cli.find_subcommand("serve").unwrap();
    let mut table = "| flag and variable | default | meaning |\n|---|---|---|\n".to_owned();
    for argument in serve.get_arguments() {
        let Some(flag) = argument.get_long().filter(|flag| *flag != "help") else { continue };
        let meaning = argument.get_long_help().or(argument.get_help()).unwrap().to_string();
        let name = format!("`--{flag}{}`{}", value_name(argument), variable(argument));
        writeln!(table, "| {name} | {} | {} |", default(argument), cell(&meaning)).unwrap();
    }
    table
}

fn value_name(argument: &Arg) -> String {
    let takes_value = argument.get_num_args().is_some_and(|count| count.min_values() > 0);
    let name = argument.get_value_names().and_then(|names| names.first());
    name.filter(|_| takes_value).map_or_else(String::new, |name| format!(" {name}"))
}

fn variable(argument: &Arg) -> String {
    argument.get_env().map_or_else(String::new, |name| format!(" `{}`", name.to_string_lossy()))
}

fn default(argument: &Arg) -> String {
    let values: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let is_switch = argument.get_long() == Some("check");
    if values.is_empty() || is_switch { "–".to_owned() } else { format!("`{}`", values.join(",")) }
}

/// The tables of the file with their fields, from the schema.
pub(crate) fn tables() -> String {
    let schema = file::schema().to_value();
    let mut text = String::new();
    for (definition, heading) in [("issuer", "[[issuer]]"), ("grant", "[[grant]]"), ("role", "[role.NAME]")] {
        let list = &schema["properties"][definition]["description"];
        writeln!(text, "### `{heading}`\n\n{}\n", paragraph(list)).unwrap();
        text += "| field | form | required | meaning |\n|---|---|---|---|\n";
        let table = &schema["$defs"][definition];
        let required: Vec<&str> = table["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for (field, form) in ordered(table, &required) {
            let is_required = if required.contains(&field) { "yes" } else { "no" };
            writeln!(
                text,
                "| `{field}` | {} | {is_required} | {} |",
                form_name(form, &schema),
                paragraph(&form["description"])
            )
            .unwrap();
        }
        text.push('\n');
    }
    text
}

/// The fields of a table: the required ones in their order, then the others.
fn ordered<'a>(table: &'a Value, required: &[&'a str]) -> Vec<(&'a str, &'a Value)> {
    let fields = table["properties"].as_object().unwrap();
    let others = fields.keys().map(String::as_str).filter(|field| !required.contains(field));
    required.iter().copied().chain(others).map(|field| (field, &fields[field])).collect()
}

/// The form of a value in words.
fn form_name(form: &Value, schema: &Value) -> String {
    if let Some(reference) = form["$ref"].as_str() {
        return form_name(&schema["$defs"][reference.rsplit('/').next().unwrap()], schema);
    }
    let constants = |values: &[Value]| {
        let names: Vec<_> = values.iter().filter_map(Value::as_str).map(|name| format!("`{name}`")).collect();
        format!("one of {}", names.join(", "))
    };
    if let Some(values) = form["enum"].as_array() {
        return constants(values);
    }
    if let Some(values) = form["oneOf"].as_array() {
        return constants(&values.iter().map(|value| value["const"].clone()).collect::<Vec<_>>());
    }
    let kind = form["type"].as_str().or_else(|| form["type"][0].as_str()).unwrap();
    match kind {
        "array" => match form_name(&form["items"], schema).as_str() {
            "string" => "list of strings".to_owned(),
            items => format!("list, each {items}"),
        },
        "object" => "table of strings".to_owned(),
        kind => kind.to_owned(),
    }
}

fn paragraph(description: &Value) -> String {
    cell(description.as_str().unwrap())
}

/// Text in one line of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
