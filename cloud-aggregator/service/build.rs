//! Embeds the console's built pages, if they are there: `console_files.rs` with a sorted table of path and bytes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?)
        .join("../console/dist");
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    if folder.parent().is_some_and(Path::is_dir) {
        // a folder that is not there would make every build run this again
        fs::create_dir_all(&folder)?;
        println!("cargo::rerun-if-changed={}", folder.display());
        collect(&folder, "", &mut files)?;
    }
    files.sort();
    let mut text =
        String::from("/// Path and bytes, sorted by path.\nstatic FILES: &[(&str, &[u8])] = &[\n");
    for (name, path) in &files {
        let path = path.canonicalize()?;
        let path = path
            .to_str()
            .ok_or_else(|| io::Error::other("a path that is no text"))?;
        writeln!(text, "    ({name:?}, include_bytes!({path:?})),").map_err(io::Error::other)?;
    }
    text.push_str("];\n");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("console_files.rs"), text)
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push((name, entry.path()));
        }
    }
    Ok(())
}
