//! Files as they are named on a command line.

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
        let text = match name.as_str() {
            "-" => std::io::read_to_string(std::io::stdin()),
            _ => std::fs::read_to_string(path),
        };
        text.map(|text| Self { name: name.clone(), text }).map_err(|error| format!("{name}: {error}"))
    }
}
