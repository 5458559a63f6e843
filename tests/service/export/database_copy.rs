//! Copies and restores a database, as an attacker does to truncate a log.

use std::fs;

use mongodb::bson::{RawDocumentBuf, doc};
use tempfile::TempDir;

use crate::support::Store;

pub(super) enum DatabaseCopy {
    Folder(TempDir),
    Collections(Vec<(String, Vec<RawDocumentBuf>)>),
}

impl DatabaseCopy {
    /// A complete copy. The database must not be in use.
    pub(super) async fn of(store: &Store) -> Self {
        let Some(database) = store.mongo_database().await else {
            let copy = TempDir::new().unwrap();
            for file in fs::read_dir(store.folder()).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
            }
            return Self::Folder(copy);
        };
        let mut collections = Vec::new();
        for name in database.list_collection_names().await.unwrap() {
            let mut found = database.collection::<RawDocumentBuf>(&name).find(doc! {}).await.unwrap();
            let mut documents = Vec::new();
            while found.advance().await.unwrap() {
                documents.push(found.current().to_owned());
            }
            collections.push((name, documents));
        }
        Self::Collections(collections)
    }

    pub(super) async fn restore(self, store: &Store) {
        match self {
            Self::Folder(copy) => {
                for file in fs::read_dir(store.folder()).unwrap() {
                    fs::remove_file(file.unwrap().path()).unwrap();
                }
                for file in fs::read_dir(copy.path()).unwrap() {
                    let file = file.unwrap();
                    fs::copy(file.path(), store.folder().join(file.file_name())).unwrap();
                }
            }
            Self::Collections(collections) => {
                let database = store.mongo_database().await.unwrap();
                for (name, documents) in collections {
                    let collection = database.collection::<RawDocumentBuf>(&name);
                    collection.delete_many(doc! {}).await.unwrap();
                    if !documents.is_empty() {
                        collection.insert_many(documents).await.unwrap();
                    }
                }
            }
        }
    }
}
