//! Fuzzing of the configuration: any text is a configuration or an error without secrets.

use crate::config::Config;

/// Parses one input.
///
/// # Panics
/// If a property does not hold.
pub fn run(bytes: &[u8]) {
    match Config::parse(bytes) {
        Ok(config) => {
            let _ = format!("{:?}", config.effective());
        }
        Err(error) => {
            let text = error.to_string();
            let mut rest = text.split("whsec_").skip(1);
            assert!(rest.all(|rest| rest.starts_with('…')), "{text}");
        }
    }
}
