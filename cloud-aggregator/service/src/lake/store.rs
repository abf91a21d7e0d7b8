//! Where the lake lies: an object store, behind the few calls that the lake needs.
//!
//! Invariants: an object appears whole or not at all; `create` has one winner; on a local disk a call returns only when
//! the file and its folder are synced, because a commit marker must not outlive the files it names.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::LakeError;

/// An opened lake folder.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// The folder, where the store is a local disk.
    local: Option<PathBuf>,
    url: String,
}

/// What `create` found.
#[derive(Debug)]
pub enum Created {
    /// Nothing: the object is ours.
    New,
    /// An object with this content.
    Exists(Bytes),
}

impl Store {
    /// Opens the lake at `url` for writing; a local folder is made if it is missing.
    pub fn open(url: &str) -> Result<Self, LakeError> {
        Self::at(url, true)
    }

    /// Opens the lake at `url`, which must be there.
    pub fn open_existing(url: &str) -> Result<Self, LakeError> {
        Self::at(url, false)
    }

    fn at(url: &str, make: bool) -> Result<Self, LakeError> {
        let bad = |why: String| LakeError::Url {
            url: url.to_owned(),
            why,
        };
        let folder = url
            .strip_prefix("file://")
            .ok_or_else(|| bad("no scheme that this build knows".to_owned()))?;
        let folder = PathBuf::from(folder);
        if !folder.is_absolute() {
            return Err(bad("the folder is not absolute".to_owned()));
        }
        if make {
            std::fs::create_dir_all(&folder).map_err(|e| bad(e.to_string()))?;
        } else if !folder.is_dir() {
            return Err(bad("there is no such folder".to_owned()));
        }
        let objects = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|e| bad(e.to_string()))?
            .with_fsync(true);
        Ok(Self {
            objects: Arc::new(objects),
            local: Some(folder),
            url: url.to_owned(),
        })
    }

    /// As configured.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Puts an object, over one that is there.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), LakeError> {
        self.objects
            .put(&Path::from(path), bytes.into())
            .await
            .map_err(|e| failed(path, e))?;
        Ok(())
    }

    /// Puts an object unless there is one, atomically.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Created, LakeError> {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let put = self
            .objects
            .put_opts(&Path::from(path), bytes.into(), options)
            .await;
        match put {
            Ok(_) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => {
                let there = self.get(path).await?.ok_or_else(|| LakeError::Damaged {
                    path: path.to_owned(),
                    what: "existence",
                    expected: "an object that was just there".to_owned(),
                    found: "none".to_owned(),
                })?;
                self.sync(path)?;
                Ok(Created::Exists(there))
            }
            Err(e) => Err(failed(path, e)),
        }
    }

    /// Whoever made the object may have died between making and syncing it.
    fn sync(&self, path: &str) -> Result<(), LakeError> {
        let Some(root) = &self.local else {
            return Ok(());
        };
        let file = root.join(path);
        let folder = file.parent().unwrap_or(root);
        [file.as_path(), folder].into_iter().try_for_each(|p| {
            std::fs::File::open(p)
                .and_then(|f| f.sync_all())
                .map_err(|source| LakeError::Disk {
                    path: p.display().to_string(),
                    source,
                })
        })
    }

    /// The object, or `None` when there is none.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, LakeError> {
        let got = match self.objects.get(&Path::from(path)).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(failed(path, e)),
        };
        got.bytes().await.map(Some).map_err(|e| failed(path, e))
    }

    /// Removes an object; none there is fine.
    pub async fn remove(&self, path: &str) -> Result<(), LakeError> {
        match self.objects.delete(&Path::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failed(path, e)),
        }
    }

    /// Names of the objects right in `folder`, sorted; none when there is no such folder.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>, LakeError> {
        let list = self.list(folder).await?;
        let objects = list.objects.iter().map(|o| &o.location);
        Ok(last_parts(objects))
    }

    /// Names of the folders right in `folder`, sorted; none when there is no such folder.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, LakeError> {
        let list = self.list(folder).await?;
        Ok(last_parts(list.common_prefixes.iter()))
    }

    async fn list(&self, folder: &str) -> Result<object_store::ListResult, LakeError> {
        let prefix = (!folder.is_empty()).then(|| Path::from(folder));
        self.objects
            .list_with_delimiter(prefix.as_ref())
            .await
            .map_err(|e| failed(folder, e))
    }
}

fn last_parts<'a>(paths: impl Iterator<Item = &'a Path>) -> Vec<String> {
    let mut out: Vec<String> = paths
        .filter_map(|p| p.filename().map(str::to_owned))
        .collect();
    out.sort_unstable();
    out
}

fn failed(path: &str, source: object_store::Error) -> LakeError {
    LakeError::Store {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}/lake", dir.path().display())).unwrap();
        (dir, store)
    }

    #[tokio::test]
    async fn one_of_many_creators_wins() {
        let (_dir, store) = store();
        let tries: Vec<_> = (0..16)
            .map(|i: u8| {
                let store = store.clone();
                tokio::spawn(async move {
                    match store.create("a/b=c/m.json", vec![i].into()).await.unwrap() {
                        Created::New => (true, i),
                        Created::Exists(b) => (false, b[0]),
                    }
                })
            })
            .collect();
        let mut winners = Vec::new();
        let mut seen = Vec::new();
        for t in tries {
            let (won, content) = t.await.unwrap();
            if won {
                winners.push(content);
            }
            seen.push(content);
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(seen, vec![winners[0]; 16]);
        assert_eq!(store.names("a/b=c").await.unwrap(), ["m.json"]);
        assert_eq!(store.folders("a").await.unwrap(), ["b=c"]);
        assert_eq!(store.names("nowhere").await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_is_not_there_is_none() {
        let (_dir, store) = store();
        assert!(store.get("x").await.unwrap().is_none());
        store.remove("x").await.unwrap();
        store.put("x", vec![1].into()).await.unwrap();
        store.put("x", vec![2].into()).await.unwrap();
        assert_eq!(store.get("x").await.unwrap().unwrap(), vec![2]);
    }

    #[test]
    fn a_url_that_cannot_be_used_says_so() {
        let e = Store::open("s3://bucket").unwrap_err().to_string();
        assert_eq!(
            e,
            "lake url `s3://bucket`: no scheme that this build knows; expected `file:///absolute/folder`"
        );
        let e = Store::open("file://lake").unwrap_err().to_string();
        assert!(e.contains("not absolute"), "{e}");
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}/lake", dir.path().display());
        let e = Store::open_existing(&url).unwrap_err().to_string();
        assert!(e.contains("there is no such folder"), "{e}");
        Store::open(&url).unwrap();
        Store::open_existing(&url).unwrap();
    }
}
