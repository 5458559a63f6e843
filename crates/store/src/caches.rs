//! The caches of this process, which forget the streams that it appends to: no read is needed to learn of those.

use std::sync::{Mutex, Weak};

use crate::event::StreamId;
use crate::lock::lock;

pub(crate) trait ForgetStream: Send + Sync {
    fn forget(&self, stream: &StreamId);
}

#[derive(Default)]
pub(crate) struct Caches(Mutex<Vec<Weak<dyn ForgetStream>>>);

impl Caches {
    pub(crate) fn add(&self, cache: Weak<dyn ForgetStream>) {
        let mut caches = lock(&self.0);
        caches.retain(|cache| cache.strong_count() > 0);
        caches.push(cache);
    }

    pub(crate) fn forget(&self, stream: &StreamId) {
        for cache in lock(&self.0).iter().filter_map(Weak::upgrade) {
            cache.forget(stream);
        }
    }
}
