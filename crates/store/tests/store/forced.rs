//! What operators decide on breakers.

use domain::declaration::Defaults;
use domain::{Forced, snapshot};
use store::{FileResources, Origin, Store};

use crate::lab::on_both;
use crate::resources::upstream;

async fn rows(store: &Store) -> Vec<(String, Option<Forced>)> {
    let mut resources = store.resources(Defaults::default()).await.unwrap();
    resources.upstreams.sort_by_key(|row: &snapshot::UpstreamRow| row.id);
    resources
        .upstreams
        .into_iter()
        .map(|row| (row.decl.name, row.forced))
        .collect()
}

fn file(names: &[&str]) -> FileResources {
    FileResources {
        users: Vec::new(),
        keys: Vec::new(),
        upstreams: names.iter().map(|name| upstream(name, &[])).collect(),
        models: Vec::new(),
    }
}

on_both! {
    async fn a_decision_belongs_to_the_upstream_and_outlives_everything_else(lab) {
        let store = lab.store().await;
        store.apply_file(file(&["a", "b"])).await.unwrap();
        let before = store.revision().await.unwrap();
        store.upstreams().force("A", Some(Forced::Open)).await.unwrap();
        assert!(store.revision().await.unwrap() > before, "running servers are told");
        store.upstreams().force("b", Some(Forced::Open)).await.unwrap();
        store.upstreams().force("b", Some(Forced::Closed)).await.unwrap();
        let decided = [("a".to_owned(), Some(Forced::Open)), ("b".to_owned(), Some(Forced::Closed))];
        assert_eq!(rows(&store).await, decided);
        assert_eq!(store.upstreams().get("b").await.unwrap().forced, Some(Forced::Closed));
        assert_eq!(store.upstreams().list().await.unwrap()[0].forced, Some(Forced::Open));

        store.apply_file(file(&["a", "b"])).await.unwrap();
        assert_eq!(rows(&lab.store().await).await, decided, "over a new start");

        store.upstreams().force("b", None).await.unwrap();
        assert_eq!(rows(&store).await[1].1, None);
        assert!(store.upstreams().force("nobody", None).await.is_err());
    }

    async fn another_upstream_of_the_same_name_is_not_closed_off(lab) {
        let store = lab.store().await;
        store.upstreams().add(&upstream("a", &[]), Origin::Cli).await.unwrap();
        store.upstreams().force("a", Some(Forced::Open)).await.unwrap();
        store.upstreams().remove("a").await.unwrap();
        store.upstreams().add(&upstream("a", &[]), Origin::Api).await.unwrap();
        assert_eq!(rows(&store).await, [("a".to_owned(), None)]);
    }
}
