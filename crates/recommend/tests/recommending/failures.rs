//! What goes wrong inside of a request degrades the answer and says so.

use tastemaker_recommend::{Recommender, SetupError};
use tastemaker_types::Window;

use crate::shop::{Shop, config, request};

#[test]
fn a_failing_source_degrades_the_answer() {
    let shop = Shop::stocked("", 400);
    shop.train(8);
    // A weight that no project file may have makes the fold-in of every history fail.
    let broken = Shop::with_config(&config(""), |options| {
        options.events.values_mut().for_each(|meaning| meaning.weight = f32::NAN);
    });
    broken.stock(400);
    let generation = tastemaker_recommend::ServingGeneration::load(&shop.publish(8), &broken.catalog).unwrap();
    broken.recommender.install(std::sync::Arc::new(generation));

    let whole = shop.ask(request("u1", 10));
    assert!(whole.degraded.is_empty());
    let degraded = broken.ask(request("u1", 10));
    assert_eq!(degraded.degraded, ["embedding:error"]);
    assert_eq!(degraded.items.len(), 10);
    assert!(degraded.items.iter().all(|item| !item.sources.contains(&"embedding")));
    assert!(degraded.items.iter().all(|item| item.score.is_finite()));
}

#[test]
fn a_budget_that_is_spent_gives_a_full_answer_of_what_is_cheap() {
    let mut settings = config("");
    settings.recommend.budget = Window::from_micros(0);
    settings.recommend.eligibility = Some("price <= 300".to_owned());
    let shop = Shop::with_config(&settings, |_| {});
    shop.stock(400);
    shop.train(8);
    let answer = shop.ask(request("u1", 10));
    assert_eq!(answer.items.len(), 10);
    assert!(answer.items.iter().all(|item| item.sources == ["fill"]));
    assert!(
        answer.items.iter().all(|item| crate::shop::number(&item.item_id) < 300),
        "eligibility is checked in any case"
    );
    for stage in ["embedding:budget", "popular:budget", "fresh:budget", "relevance:budget"] {
        assert!(answer.degraded.iter().any(|reason| reason == stage), "{:?}", answer.degraded);
    }
}

#[test]
fn deadlines_are_for_stages_that_there_are() {
    let good = config("[recommend.deadlines]\nembedding = \"20ms\"\ndiversity = \"5ms\"");
    Shop::with_config(&good, |_| {});
    let bad = config("[recommend.deadlines]\nembeding = \"20ms\"");
    let shop = Shop::empty("");
    let error = Recommender::new(&bad, shop.catalog.clone(), shop.state.clone()).err().unwrap();
    assert_eq!(error.to_string(), "recommend.deadlines: there is no stage 'embeding'; did you mean 'embedding'?");
}

#[test]
fn settings_that_cannot_work_are_refused_at_start() {
    let refusal = |recommend: &str| {
        let shop = Shop::empty("");
        Recommender::new(&config(recommend), shop.catalog.clone(), shop.state.clone()).err().unwrap()
    };
    let eligibility = refusal("[recommend]\neligibility = \"avaliable\"");
    assert!(matches!(eligibility, SetupError::Expression { key: "eligibility", .. }));
    assert!(eligibility.to_string().contains("available"), "{eligibility}");
    assert!(matches!(refusal("[recommend]\nboost = \"available\""), SetupError::Boost { .. }));
    let cap = refusal("[recommend.diversity]\nmax_per = { grup = 2 }").to_string();
    assert!(cap.contains("did you mean 'group'?"), "{cap}");
    assert!(matches!(refusal("[recommend]\nattributes = [\"x\"]"), SetupError::UnknownAttribute { .. }));
}
