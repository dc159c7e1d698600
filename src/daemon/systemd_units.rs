//! Unit files of the systemd user service, rendered for the path of the program.

use std::path::Path;

const SERVICE_TEMPLATE: &str = include_str!("../../systemd/dossierd.service");
const SOCKET_TEMPLATE: &str = include_str!("../../systemd/dossierd.socket");
const NAMESPACES_TEMPLATE: &str = include_str!("../../systemd/dossierd.service.d/namespaces.conf");

/// Name of the service unit.
pub const SERVICE_NAME: &str = "dossierd.service";
/// Name of the socket unit.
pub const SOCKET_NAME: &str = "dossierd.socket";
/// Path of the drop-in with user namespace hardening, relative to the unit directory.
pub const NAMESPACES_NAME: &str = "dossierd.service.d/namespaces.conf";

/// Path of the program in the packaged units.
pub const PACKAGED_PROGRAM: &str = "/usr/bin/dossierd";

/// A unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdUnit {
    /// Path relative to the unit directory.
    pub name: &'static str,
    /// Content of the file.
    pub text: String,
}

/// Why a unit file cannot contain a path or variable.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the {what} {text:?} into a unit file: {cause}")]
pub struct UnitError {
    what: &'static str,
    text: String,
    cause: &'static str,
}

/// Returns the units that run `program` with these environment variables.
///
/// # Errors
/// [`UnitError`] if a unit file cannot contain the path or a variable.
pub fn render_units(
    program: &Path,
    environment: &[(&'static str, String)],
    namespaces: bool,
) -> Result<Vec<SystemdUnit>, UnitError> {
    let mut exec_start = format!("ExecStart={} run", quote_program(program)?);
    for (name, value) in environment {
        exec_start.push_str(&format!(
            "\nEnvironment={}",
            quote_word("variable", &format!("{name}={value}"))?
        ));
    }
    let plain = format!("ExecStart={PACKAGED_PROGRAM} run");
    let unit = |name, text: &str| SystemdUnit { name, text: text.to_owned() };
    let mut units = vec![
        unit(SERVICE_NAME, &SERVICE_TEMPLATE.replace(&plain, &exec_start)),
        unit(SOCKET_NAME, SOCKET_TEMPLATE),
    ];
    if namespaces {
        units.push(unit(NAMESPACES_NAME, NAMESPACES_TEMPLATE));
    }
    Ok(units)
}

/// Returns true if two unit files differ at most in the program and its environment variables.
#[must_use]
pub fn is_same_except_program(one: &str, other: &str) -> bool {
    let common = |line: &&str| !line.starts_with("ExecStart=") && !line.starts_with("Environment=");
    one.lines().filter(common).eq(other.lines().filter(common))
}

/// Quotes the path of the program as the first word of a command line. No variables are expanded
/// there. Systemd rejects a quote or backslash in it even if escaped (systemd.service(5); tested).
fn quote_program(program: &Path) -> Result<String, UnitError> {
    let error = |cause| UnitError { what: "program", text: program.display().to_string(), cause };
    let text = program.to_str().ok_or_else(|| error("its path is not UTF-8"))?;
    if text.contains(['"', '\'', '\\']) {
        return Err(error(
            "systemd cannot run a program whose path contains a quote or a backslash; install it \
             elsewhere, for example in ~/.local/bin",
        ));
    }
    quote_word("program", text)
}

/// Quotes one word of a value in which no variables are expanded (systemd.syntax(7)).
fn quote_word(what: &'static str, text: &str) -> Result<String, UnitError> {
    if text.contains(char::is_control) {
        return Err(UnitError {
            what,
            text: text.to_owned(),
            cause: "it contains control characters",
        });
    }
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@".contains(c);
    if text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '%' => quoted.push_str("%%"),
            '"' | '\\' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn render_units_quotes_program_and_environment() {
        let units = render_units(Path::new("/home/a b/100%/$x/dossierd"), &[], true).unwrap();
        assert!(units[0].text.contains("\nExecStart=\"/home/a b/100%%/$x/dossierd\" run\n"));
        assert_eq!(units[1].text, SOCKET_TEMPLATE);
        assert_eq!(units[2].name, NAMESPACES_NAME);
        let environment = [("XDG_STATE_HOME", "/a $b".to_owned())];
        let units = super::render_units(Path::new(PACKAGED_PROGRAM), &environment, false).unwrap();
        assert!(
            units[0].text.contains(
                "\nExecStart=/usr/bin/dossierd run\nEnvironment=\"XDG_STATE_HOME=/a $b\"\n"
            )
        );
        let environment = [("XDG_STATE_HOME", "/\"q\" it's \\ %h".to_owned())];
        let units = super::render_units(Path::new(PACKAGED_PROGRAM), &environment, false).unwrap();
        let expected = r#"Environment="XDG_STATE_HOME=/\"q\" it's \\ %%h""#;
        assert!(units[0].text.contains(expected), "{}", units[0].text);
        for (path, cause) in [
            ("/a\nb", "control characters"),
            ("/a\"b", "a quote or a backslash"),
            ("/a'b", "a quote or a backslash"),
            ("/a\\b", "a quote or a backslash"),
        ] {
            let error = super::render_units(Path::new(path), &[], false).unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
        }
        let environment = [("XDG_STATE_HOME", "/a\nExecStartPre=/bin/false".to_owned())];
        assert!(super::render_units(Path::new("/a"), &environment, false).is_err());
    }

    #[test]
    fn render_units_for_the_packaged_program_equals_the_packaged_unit() {
        let units = render_units(Path::new(PACKAGED_PROGRAM), &[], false).unwrap();
        assert_eq!(units[0].text, SERVICE_TEMPLATE);
    }
}
