//! Files as they are named on a command line.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

/// A file that was read.
pub struct File {
    pub name: String,
    pub text: String,
}

impl File {
    /// Reads one; `-` is the standard input.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        let read = match name.as_str() {
            "-" => std::io::stdin().read_to_end(&mut bytes).map(|_| bytes),
            _ => std::fs::read(path),
        };
        let told = |problem: String| format!("{name}: {problem}");
        let bytes = read.map_err(|error| match error.kind() {
            ErrorKind::IsADirectory => told("is a folder: name the files in it".to_owned()),
            ErrorKind::NotFound => told("there is no such file".to_owned()),
            _ => told(error.to_string()),
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let before = error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
                Err(told(format!(
                    "line {} is no text in UTF-8: save the file in that encoding",
                    before.saturating_add(1)
                )))
            }
        }
    }
}
