//! Git LFS without its filters: a pointer names the hash of the file in whose place it is committed.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};

use super::git::Git;
use crate::git;

/// The text of a pointer begins so, and is short.
const VERSION: &str = "version https://git-lfs.github.com/spec/v1\n";
pub const LONGEST: u64 = 1024;

/// SHA-256 of the file that a pointer stands for.
pub fn pointer(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(VERSION).filter(|_| text.len() as u64 <= LONGEST)?;
    let hash = rest.lines().find_map(|line| line.strip_prefix("oid sha256:"))?;
    (hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hash)
}

/// Where a clone keeps the file of a pointer.
pub fn place(git_dir: &Utf8Path, hash: &str) -> Utf8PathBuf {
    git_dir.join("lfs/objects").join(&hash[..2]).join(&hash[2..4]).join(hash)
}

impl Git<'_> {
    /// Of files that git takes for edited, (committed blob, path), those that are what the blob points to.
    pub(super) fn same_in_lfs<'a>(&self, edited: &[(&str, &'a str)]) -> Result<Vec<&'a str>, String> {
        let blobs: Vec<&str> = edited.iter().map(|(blob, _)| *blob).collect();
        let mut short = Vec::new();
        for line in self.batch("--batch-check", &blobs)?.lines() {
            if let [blob, "blob", size] = line.split(' ').collect::<Vec<_>>()[..]
                && size.parse::<u64>().is_ok_and(|size| size <= LONGEST)
            {
                short.push(blob.to_owned());
            }
        }
        let pointers = self.pointers(&short)?;
        let mut same = Vec::new();
        for (blob, path) in edited {
            if let Some(hash) = pointers.get(*blob)
                && sha256(&self.repo.join(path)).as_ref() == Some(hash)
            {
                same.push(*path);
            }
        }
        Ok(same)
    }

    /// Blob → the hash in it, of those that are pointers.
    fn pointers(&self, blobs: &[String]) -> Result<BTreeMap<String, String>, String> {
        let mut found = BTreeMap::new();
        let mut left = blobs;
        while !left.is_empty() {
            let all = self.batch("--batch", &left.iter().map(String::as_str).collect::<Vec<_>>())?;
            let mut rest = all.as_str();
            while let Some((blob, after)) = left.split_first() {
                left = after;
                let Some((head, text)) = rest.split_once('\n') else { return Ok(found) };
                let size = head.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
                // Bytes that are no text have become longer: where the next blob begins is not known then.
                let content = size.and_then(|size| text.get(..size)).filter(|content| !content.contains('\u{fffd}'));
                let Some(content) = content else { break };
                found.extend(pointer(content).map(|hash| (blob.clone(), hash.to_owned())));
                rest = text.get(content.len() + 1..).unwrap_or_default();
            }
        }
        Ok(found)
    }

    fn batch(&self, how: &str, blobs: &[&str]) -> Result<String, String> {
        if blobs.is_empty() {
            return Ok(String::new());
        }
        let cmd = git::ask(self.repo, "read what is committed", &["cat-file", how]).timeout(self.limit);
        self.run(&cmd.stdin(format!("{}\n", blobs.join("\n"))))
    }
}

/// Of a file's content; `None`: it is no file.
pub fn sha256(path: &Utf8Path) -> Option<String> {
    let mut hash = Sha256::new();
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return None;
    }
    super::git::hash_content(path, &mut hash).ok()?;
    Some(super::hex(&hash.finalize()))
}
