//! What holds whatever happens: at every moment, when all is over, and hours after.

use std::time::Duration;

use domain::{Money, Policy};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use routing::{Attempts, Choice, Step, plan};

use super::World;
use super::calls::LIMIT;
use crate::upstreams::{CHAT, START, STORMY};

impl World {
    /// What holds at every moment.
    pub(super) fn check(&self) {
        for (number, user) in self.users.iter().enumerate() {
            let view = self.accounts.get(user.id).view();
            let mine = || self.calls.iter().filter(|call| call.script.user == number);
            let held: i64 = mine()
                .filter_map(|call| call.hold.as_ref())
                .map(|hold| hold.amount().nanos())
                .sum();
            assert_eq!(view.held.nanos(), held, "what is held is not what the calls hold");
            let journalled: i64 = self
                .journal
                .iter()
                .filter(|entry| entry.1 == number)
                .map(|entry| entry.2)
                .sum();
            assert_eq!(
                view.pending.nanos(),
                journalled,
                "what is pending is not what is journalled"
            );
            assert_eq!(view.balance.nanos(), user.balance);
            if user.policy == Policy::Hard {
                assert!(
                    view.available >= Money::ZERO,
                    "user {number} spends what is not there: {view:?}"
                );
            }
            let open = mine().filter(|call| call.permit.is_some()).count();
            assert!(
                user.limits.concurrency == 0 || open <= user.limits.concurrency as usize,
                "{open} calls at once"
            );
        }
    }

    /// What holds when all is over.
    pub(super) fn check_the_end(&self) {
        assert!(self.calls.iter().all(|call| call.ended.is_some()), "a call never ended");
        assert_eq!(self.accounts.held_total(), Money::ZERO, "something is still held");
        assert_eq!(self.accounts.pending_total(), Money::ZERO, "something was never booked");
        assert!(
            self.board
                .upstreams(self.now)
                .iter()
                .all(|status| status.open_calls == 0)
        );
        assert!(
            self.board
                .credentials(self.now)
                .iter()
                .all(|status| status.open_calls == 0)
        );
        for user in &self.users {
            assert!(
                user.policy != Policy::Hard || user.balance >= 0,
                "a hard balance ends at {}",
                user.balance
            );
            assert!(user.credited >= user.balance);
            for (n, first) in user.admitted.iter().enumerate() {
                let within = user.admitted[n..]
                    .iter()
                    .filter(|then| then.since(*first) < Duration::from_mins(1));
                assert!(
                    user.limits.rpm == 0 || within.count() <= user.limits.rpm as usize,
                    "over the rpm"
                );
            }
        }
        self.check_recovery();
    }

    /// Hours after the storm, a call is answered at the first try, unless no credential is any good.
    fn check_recovery(&self) {
        let later = START + STORMY + Duration::from_hours(3);
        let good = |choice: Choice| self.natures[choice.target].refused[choice.credential].is_none();
        let mut rng = SmallRng::seed_from_u64(1);
        let plan = plan(&self.route, CHAT, &self.board, later, &mut rng);
        assert!(plan.excluded.is_empty(), "still set aside: {:?}", plan.excluded);
        let mut attempts = Attempts::new(plan.clone(), &self.defaults, later + LIMIT);
        let Step::Try(choice) = attempts.next(&self.route, &self.board, later) else {
            panic!("nothing to try")
        };
        assert!(good(choice) || plan.order.first() == Some(&choice));
    }
}
