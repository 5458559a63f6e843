//! A database as it was, to be put back: what an attacker does who cuts off the end of a log.

use std::fs;

use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::{Client, Database};
use tempfile::TempDir;

use crate::support::Store;

pub(super) enum DatabaseCopy {
    Folder(TempDir),
    Collections(Vec<(String, Vec<RawDocumentBuf>)>),
}

impl DatabaseCopy {
    /// A copy of all of it. Nobody may be using it.
    pub(super) async fn of(store: &Store) -> Self {
        let Some(database) = database(store).await else {
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
                let database = database(store).await.unwrap();
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

async fn database(store: &Store) -> Option<Database> {
    let (url, name) = store.mongo_address()?;
    Some(Client::with_uri_str(url).await.unwrap().database(name))
}
