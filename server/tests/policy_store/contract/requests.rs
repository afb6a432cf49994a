//! What becomes of a request that is sent again.

use std::sync::Arc;

use jiff::SignedDuration;
use scangate_server::policy_store::{Error, PolicyStore, Precondition};

use crate::fixtures::{LoadSnapshot as _, create, delete, later, requested, update};

pub(super) async fn a_create_sent_again_returns_what_it_returned_before(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", create("team"));
    let first = store.apply(request()).await.unwrap();
    store.apply(update("team", Precondition::Any)).await.unwrap();
    store.apply(delete("team", Precondition::Any)).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    let again = store.apply(later(SignedDuration::from_mins(1), request())).await.unwrap();

    assert_eq!(again, first);
    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn an_update_sent_again_returns_what_it_returned_before(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", update("team", Precondition::Revision(2)));
    store.apply(create("team")).await.unwrap();
    let first = store.apply(request()).await.unwrap();
    store.apply(update("team", Precondition::Any)).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    let again = store.apply(request()).await.unwrap();

    assert_eq!(again, first);
    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn a_delete_sent_again_returns_what_it_returned_before(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", delete("team", Precondition::Any));
    store.apply(create("team")).await.unwrap();
    let first = store.apply(request()).await.unwrap();
    store.apply(create("team")).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    let again = store.apply(request()).await.unwrap();

    assert_eq!((again.revision, again.documents.len()), (3, 0));
    assert_eq!(again, first);
    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn a_request_id_used_for_another_request_is_refused(store: Arc<dyn PolicyStore>) {
    store.apply(requested("id", "print", create("team"))).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    let refused = store.apply(requested("id", "other", create("other"))).await;

    assert!(matches!(refused, Err(Error::RequestIdReused)), "{refused:?}");
    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn a_refused_request_is_not_remembered(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", update("team", Precondition::Any));
    let refused = store.apply(request()).await;
    store.apply(create("team")).await.unwrap();

    let again = store.apply(request()).await;

    assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
    assert_eq!(again.unwrap().revision, 3);
}

pub(super) async fn a_request_is_remembered_for_24_hours_and_no_longer(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", update("default", Precondition::Any));
    let day = SignedDuration::from_hours(24);
    let instant = SignedDuration::from_micros(1);

    let first = store.apply(request()).await.unwrap().revision;
    let remembered = store.apply(later(day - instant, request())).await.unwrap().revision;
    let forgotten = store.apply(later(day, request())).await.unwrap().revision;
    let remembered_anew = store.apply(later(day + day - instant, request())).await.unwrap().revision;

    assert_eq!([first, remembered, forgotten, remembered_anew], [2, 2, 3, 3]);
}
