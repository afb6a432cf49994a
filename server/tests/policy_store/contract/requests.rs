//! Idempotency keys.

use std::sync::Arc;

use jiff::SignedDuration;
use scangate_server::{
    idempotency::RequestKey,
    policy_store::{Error, PolicyStore, Precondition},
};
use scangate_test_fixtures::noon;

use crate::fixtures::{LoadSnapshot as _, by, create, delete, later, requested, update};

pub(super) async fn repeated_create_returns_first_result(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", create("team"));
    let first = store.apply(request()).await.unwrap();
    store.apply(update("team", Precondition::Any)).await.unwrap();
    store.apply(delete("team", Precondition::Any)).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    let again = store.apply(later(SignedDuration::from_mins(1), request())).await.unwrap();

    assert_eq!(again, first);
    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn repeated_update_returns_first_result(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", update("team", Precondition::Revision(2)));
    store.apply(create("team")).await.unwrap();
    let first = store.apply(request()).await.unwrap();
    store.apply(update("team", Precondition::Any)).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    let again = store.apply(request()).await.unwrap();

    assert_eq!(again, first);
    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn repeated_delete_returns_first_result(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", delete("team", Precondition::Any));
    store.apply(create("team")).await.unwrap();
    let first = store.apply(request()).await.unwrap();
    store.apply(create("team")).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    let again = store.apply(request()).await.unwrap();

    assert_eq!((again.revision, again.resources.len()), (3, 0));
    assert_eq!(again, first);
    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn reused_request_id_is_refused(store: Arc<dyn PolicyStore>) {
    store.apply(requested("id", "print", create("team"))).await.unwrap();
    let before = store.load_snapshot().await.unwrap();

    let refused = store.apply(requested("id", "other", create("other"))).await;

    assert!(matches!(refused, Err(Error::RequestIdReused)), "{refused:?}");
    assert_eq!(store.load_snapshot().await.unwrap(), before);
}

pub(super) async fn equal_ids_of_callers_are_different_requests(store: Arc<dyn PolicyStore>) {
    let request = |author, print, name| by(author, requested("id", print, create(name)));
    let first = store.apply(request("ann", "print", "team")).await.unwrap();
    let key = request("bob", "print", "team").request.unwrap();
    let unknown = store.recorded(&key, noon()).await.unwrap();

    let second = store.apply(request("bob", "other", "other")).await.unwrap();
    let again = store.apply(request("ann", "print", "team")).await.unwrap();

    assert_eq!((unknown, second.revision, &again), (None, 3, &first));
    let key = request("bob", "other", "other").request.unwrap();
    assert_eq!(store.recorded(&key, noon()).await.unwrap(), Some(second));
}

pub(super) async fn expired_request_deletes_no_other_caller(store: Arc<dyn PolicyStore>) {
    let request = |author, name| by(author, requested("id", "print", create(name)));
    store.apply(request("ann", "team")).await.unwrap();
    let second = store.apply(later(SignedDuration::from_hours(1), request("bob", "other"))).await.unwrap();
    let now = SignedDuration::from_hours(24);

    store.apply(later(now, create("third"))).await.unwrap();

    let key = |author| request(author, "other").request.unwrap();
    assert_eq!(store.recorded(&key("ann"), noon() + now).await.unwrap(), None);
    assert_eq!(store.recorded(&key("bob"), noon() + now).await.unwrap(), Some(second));
}

pub(super) async fn recorded_result_is_found_within_window(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", update("team", Precondition::Revision(2)));
    let key = request().request.unwrap();
    let other = RequestKey { fingerprint: "other".to_owned(), ..key.clone() };
    let created = store.apply(create("team")).await.unwrap();
    let unknown = store.recorded(&key, noon()).await.unwrap();
    let first = store.apply(request()).await.unwrap();
    store.apply(delete("team", Precondition::Any)).await.unwrap();

    let recorded = store.recorded(&key, noon()).await.unwrap();
    let reused = store.recorded(&other, noon()).await;
    let expired = store.recorded(&key, noon() + SignedDuration::from_hours(24)).await.unwrap();

    assert_eq!((unknown, recorded, expired), (None, Some(first.clone()), None));
    assert!(matches!(reused, Err(Error::RequestIdReused)), "{reused:?}");
    assert_eq!(first.replaced_policy(), created.policy());
}

pub(super) async fn refused_request_is_not_recorded(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", update("team", Precondition::Any));
    let refused = store.apply(request()).await;
    store.apply(create("team")).await.unwrap();

    let again = store.apply(request()).await;

    assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
    assert_eq!(again.unwrap().revision, 3);
}

pub(super) async fn request_is_deduplicated_for_24_hours_only(store: Arc<dyn PolicyStore>) {
    let request = || requested("id", "print", update("default", Precondition::Any));
    let day = SignedDuration::from_hours(24);
    let instant = SignedDuration::from_micros(1);

    let first = store.apply(request()).await.unwrap().revision;
    let deduplicated = store.apply(later(day - instant, request())).await.unwrap().revision;
    let expired = store.apply(later(day, request())).await.unwrap().revision;
    let deduplicated_again = store.apply(later(day + day - instant, request())).await.unwrap().revision;

    assert_eq!([first, deduplicated, expired, deduplicated_again], [2, 2, 3, 3]);
}
