//! The unit files of the systemd user service, for the place where this program lies.

use std::path::Path;

const SERVICE_TEMPLATE: &str = include_str!("../../systemd/dossierd.service");
const SOCKET_TEMPLATE: &str = include_str!("../../systemd/dossierd.socket");
const NAMESPACES_TEMPLATE: &str = include_str!("../../systemd/dossierd.service.d/namespaces.conf");

/// Name of the service's unit.
pub const SERVICE_NAME: &str = "dossierd.service";
/// Name of the socket's unit.
pub const SOCKET_NAME: &str = "dossierd.socket";
/// The drop-in that hardens more, below the directory of units.
pub const NAMESPACES_NAME: &str = "dossierd.service.d/namespaces.conf";

/// Where the packaged units say that the program lies.
pub const PACKAGED_PROGRAM: &str = "/usr/bin/dossierd";

/// A unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdUnit {
    /// Its path below the directory of units.
    pub name: &'static str,
    /// What it says.
    pub text: String,
}

/// What systemd cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("systemd cannot be told of the {what} {text:?}: {why}")]
pub struct UnitError {
    what: &'static str,
    text: String,
    why: &'static str,
}

/// The units that run `program`, with these variables in its environment.
///
/// # Errors
/// [`UnitError`] for what no unit file can hold.
pub fn render_units(
    program: &Path,
    environment: &[(&'static str, String)],
    namespaces: bool,
) -> Result<Vec<SystemdUnit>, UnitError> {
    let mut start = format!("ExecStart={} run", quote_program(program)?);
    for (name, value) in environment {
        start.push_str(&format!(
            "\nEnvironment={}",
            quote_word("variable", &format!("{name}={value}"))?
        ));
    }
    let plain = format!("ExecStart={PACKAGED_PROGRAM} run");
    let unit = |name, text: &str| SystemdUnit { name, text: text.to_owned() };
    let mut units = vec![
        unit(SERVICE_NAME, &SERVICE_TEMPLATE.replace(&plain, &start)),
        unit(SOCKET_NAME, SOCKET_TEMPLATE),
    ];
    if namespaces {
        units.push(unit(NAMESPACES_NAME, NAMESPACES_TEMPLATE));
    }
    Ok(units)
}

/// Whether two texts of a unit say the same but for which program is run, and with what variables.
#[must_use]
pub fn is_same_except_program(one: &str, other: &str) -> bool {
    let common = |line: &&str| !line.starts_with("ExecStart=") && !line.starts_with("Environment=");
    one.lines().filter(common).eq(other.lines().filter(common))
}

/// The program as the first word of a command line. There a dollar is a dollar, and quotes and
/// backslashes are refused by systemd however they are written (systemd.service(5), and measured).
fn quote_program(program: &Path) -> Result<String, UnitError> {
    let error = |why| UnitError { what: "program", text: program.display().to_string(), why };
    let text = program.to_str().ok_or_else(|| error("its path is not UTF-8"))?;
    if text.contains(['"', '\'', '\\']) {
        return Err(error(
            "it runs none whose path has a quote or a backslash; copy it to another folder, such \
             as ~/.local/bin",
        ));
    }
    quote_word("program", text)
}

/// One word, where no variables are put in (systemd.syntax(7)).
fn quote_word(what: &'static str, text: &str) -> Result<String, UnitError> {
    if text.contains(char::is_control) {
        return Err(UnitError { what, text: text.to_owned(), why: "it has control characters" });
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
    fn the_program_is_where_it_lies() {
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
        let said = r#"Environment="XDG_STATE_HOME=/\"q\" it's \\ %%h""#;
        assert!(units[0].text.contains(said), "{}", units[0].text);
        for (path, why) in [
            ("/a\nb", "control characters"),
            ("/a\"b", "a quote or a backslash"),
            ("/a'b", "a quote or a backslash"),
            ("/a\\b", "a quote or a backslash"),
        ] {
            let error = super::render_units(Path::new(path), &[], false).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let environment = [("XDG_STATE_HOME", "/a\nExecStartPre=/bin/false".to_owned())];
        assert!(super::render_units(Path::new("/a"), &environment, false).is_err());
    }

    #[test]
    fn the_packaged_units_are_those_of_the_packaged_program() {
        let units = render_units(Path::new(PACKAGED_PROGRAM), &[], false).unwrap();
        assert_eq!(units[0].text, SERVICE_TEMPLATE);
    }
}
