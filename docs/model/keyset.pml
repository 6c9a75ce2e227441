/*
 * The coordination of one multi-Region key between three Regions: rotation behind the barrier, the hand-over of the
 * primary, promotion by quorum with and without expulsion. README.md says what is left out. Each option of the loop is
 * one durable step: one committed transaction at one Region. Between two of them anything may happen, and a process that
 * is killed just does not take its next step, so that crashes need no option of their own.
 *
 * What was signed stays signed: a Region may be shown any state that was ever signed, at any time, in any order, again
 * and again or never. So the network loses, repeats, delays and reorders without being modelled.
 *
 * Faults, one at a time, by which the check of this model is checked (ci/model.sh):
 *   -DNO_BARRIER        new material becomes current without the receipts
 *   -DSHRINKING_BARRIER a member that does not answer is not counted
 *   -DNO_EPOCH          a state is taken for newer by its sequence number alone
 *   -DDESTROY_PENDING   a promoted Region throws pending material away
 *   -DTAKE_BACK         the old primary acts again without the successor's refusal
 *   -DFORGET_REFUSAL    a successor that has refused may accept later
 *   -DGOES_ON           the old primary still acts after it has signed the hand-over
 *   -DSECOND_GENERATION the operators approve two promotions to one generation
 */
#define REGIONS     3
#define GENERATIONS 2
#ifndef MATERIALS
#define MATERIALS   2
#endif
#ifndef TERMS
#define TERMS       2
#endif
#ifndef SEQUENCES
#define SEQUENCES   4  /* shared changes in an epoch */
#endif
#define EPOCHS      (GENERATIONS * TERMS) /* epoch (g, t), from 0, is number g * TERMS + t: lexicographic order */
#define NOBODY      REGIONS
#define NOTHING     MATERIALS
#define ALL         ((1 << REGIONS) - 1)

#define has(set, x) ((set) & (1 << (x)))
#define number(e, s) ((e) * SEQUENCES + (s))

/* What a shared state says, without its number. */
typedef Shared {
	byte current;
	byte pending;
	byte materials; /* a set */
	byte members    /* a set */
}

typedef Region {
	byte epoch;
	byte sequence;
	Shared shared;
	byte held;       /* a set of materials: what is in its store, and decrypts */
	byte current;    /* what it encrypts with */
	bit updating;    /* as a primary that has signed its successor's certificate */
	byte receipts    /* a set of Regions: as a primary, whose receipts for the pending material it has */
}

Region region[REGIONS];
bit issued[EPOCHS * SEQUENCES];
Shared state[EPOCHS * SEQUENCES];  /* as signed */
byte primary[EPOCHS];              /* whom the epoch's certificate names; NOBODY without a certificate */
byte refused[EPOCHS];              /* a set of Regions that have signed that they never accept */
bit accepted[EPOCHS];
Shared handed[EPOCHS];             /* the state that the hand-over carries */
byte made = 1;                     /* materials made so far */
byte expelled;                     /* a set: Regions that a quorum has put out */
byte promotions;

#ifdef TAKE_BACK
#define may_take_back(e, j) true
#else
#define may_take_back(e, j) has(refused[e], j)
#endif
#ifdef FORGET_REFUSAL /* the certificate that was refused still counts */
#define may_accept(e, j) true
#define withdraw(e)      skip
#else
#define may_accept(e, j) (!has(refused[e], j))
#define withdraw(e)      primary[e] = NOBODY
#endif
#ifdef SECOND_GENERATION
#define APPROVED 2
#else
#define APPROVED (GENERATIONS - 1)
#endif

#define acts(i) (primary[region[i].epoch] == (i) && !region[i].updating)
#define knows(i, e, s) (number(region[i].epoch, region[i].sequence) >= number(e, s))

#define copy(to, from) to.current = from.current; to.pending = from.pending; to.materials = from.materials; to.members = from.members

/* sign: Region i signs its shared state under its present number, which names one content for ever. */
inline sign(i) {
	n = number(region[i].epoch, region[i].sequence);
	assert(!issued[n]);
	/* Nothing is shared in a term that was handed over: the successor would not know it. */
	assert((region[i].epoch % TERMS) == TERMS - 1 || !accepted[region[i].epoch + 1]);
	issued[n] = 1;
	copy(state[n], region[i].shared)
}

inline change(i) {
	region[i].sequence++;
	sign(i)
}

/* adopt: Region i takes over the state signed as (e, s); it encrypts with what it holds only. */
inline adopt(i, e, s) {
	copy(region[i].shared, state[number(e, s)]);
	if /* who has signed a hand-over waits for the next epoch: the state that it has itself is no answer */
	:: region[i].epoch != e -> region[i].updating = 0
	:: else
	fi;
	region[i].epoch = e;
	region[i].sequence = s;
	if
	:: has(region[i].held, region[i].shared.current) -> region[i].current = region[i].shared.current
	:: else
	fi
}

/* barrier: every member that counts has a receipt. */
#ifdef NO_BARRIER
#define barrier(i) true
#else
#ifdef SHRINKING_BARRIER
#define barrier(i) (region[i].receipts | (1 << i)) != (1 << i)
#else
#define barrier(i) ((region[i].shared.members & ~(region[i].receipts | (1 << i))) == 0)
#endif
#endif

/* What always holds. */
inline check() {
	x = 0;
	do
	:: x < REGIONS ->
		y = 0;
		do
		:: y < REGIONS ->
			/* What any Region encrypts, every Region that was not put out decrypts. */
			assert(has(expelled, y) || has(region[y].held, region[x].current));
			/* An epoch has one primary that acts. */
			assert(x == y || !acts(x) || !acts(y) || region[x].epoch != region[y].epoch);
			y++
		:: else -> break
		od;
		x++
	:: else -> break
	od;
	x = 0; y = 0
}

init {
	byte i, j, m, e, s, n, x, y;
	d_step {
		e = 0;
		do
		:: e < EPOCHS -> primary[e] = NOBODY; e++
		:: else -> break
		od;
		primary[0] = 0;
		i = 0;
		do
		:: i < REGIONS ->
			region[i].held = 1;
			region[i].shared.pending = NOTHING;
			region[i].shared.materials = 1;
			region[i].shared.members = ALL;
			i++
		:: else -> break
		od;
		i = 0; e = 0;
		sign(0)
	}
	do
	:: atomic {
		/* any two Regions */
		if :: i = 0 :: i = 1 :: i = 2 fi;
		if :: j = 0 :: j = 1 :: j = 2 fi;
		if
		/* A primary makes new material, pending: one change at a time. */
		:: j == i && acts(i) && region[i].shared.pending == NOTHING && made < MATERIALS && region[i].sequence < SEQUENCES - 1 ->
			region[i].held = region[i].held | (1 << made);
			region[i].shared.materials = region[i].shared.materials | (1 << made);
			region[i].shared.pending = made;
			made++;
			region[i].receipts = 0;
			change(i)

		/* i supplies j with a material: any holder to any member, with the state that i has; a lower one is refused. */
		:: j != i && has(region[i].shared.members, j) && knows(i, region[j].epoch, region[j].sequence) &&
			issued[number(region[i].epoch, region[i].sequence)] ->
			m = 0;
			do
			:: m < MATERIALS - 1 -> m++
			:: break
			od;
			if
			:: has(region[i].held, m) && has(region[i].shared.materials, m) && !has(region[j].held, m) ->
				region[j].held = region[j].held | (1 << m);
				e = region[i].epoch; s = region[i].sequence;
				adopt(j, e, s)
			:: else
			fi;
			m = 0; e = 0; s = 0

		/* i, which acts, gets j's receipt for the pending material, of i's own epoch. */
		:: j != i && acts(i) && region[j].epoch == region[i].epoch && has(region[i].shared.members, j) &&
			has(region[j].held, region[i].shared.pending) && !has(region[i].receipts, j) ->
			region[i].receipts = region[i].receipts | (1 << j)

		/* The pending material becomes current: the barrier. */
		:: j == i && acts(i) && region[i].shared.pending != NOTHING && has(region[i].held, region[i].shared.pending) &&
			barrier(i) && region[i].sequence < SEQUENCES - 1 ->
			region[i].shared.current = region[i].shared.pending;
			region[i].current = region[i].shared.pending;
			region[i].shared.pending = NOTHING;
			region[i].receipts = 0;
			change(i)

		/* i hears of any state that was ever signed and is higher than its own. */
		:: j == i ->
			e = 0;
			do
			:: e < EPOCHS - 1 -> e++
			:: break
			od;
			s = 0;
			do
			:: s < SEQUENCES - 1 -> s++
			:: break
			od;
			if
#ifdef NO_EPOCH
			:: issued[number(e, s)] && s > region[i].sequence && has(state[number(e, s)].members, i) -> adopt(i, e, s)
#endif
			:: issued[number(e, s)] && !knows(i, e, s) && has(state[number(e, s)].members, i) -> adopt(i, e, s)
			:: else
			fi;
			e = 0; s = 0

		/* i hands over to j: stops acting, and signs the certificate, in one transaction. */
		:: j != i && acts(i) && has(region[i].shared.members, j) && (region[i].epoch % TERMS) < TERMS - 1 &&
			primary[region[i].epoch + 1] == NOBODY && !has(refused[region[i].epoch + 1], j) ->
			e = region[i].epoch + 1;
			primary[e] = j;
			copy(handed[e], region[i].shared);
#ifndef GOES_ON
			region[i].updating = 1;
#endif
			e = 0

		/* j accepts what i has signed for it; it must hold what encrypts. */
		:: j != i && (region[i].epoch % TERMS) < TERMS - 1 && primary[region[i].epoch + 1] == j &&
			primary[region[i].epoch] == i && region[j].epoch <= region[i].epoch && !accepted[region[i].epoch + 1] &&
			may_accept(region[i].epoch + 1, j) && has(region[j].held, handed[region[i].epoch + 1].current) ->
			e = region[i].epoch + 1;
			accepted[e] = 1;
			copy(region[j].shared, handed[e]);
			region[j].epoch = e;
			region[j].sequence = 0;
			region[j].current = region[j].shared.current;
			region[j].updating = 0;
			region[j].receipts = 0;
			sign(j);
			e = 0; n = 0

		/* j refuses for ever. */
		:: j != i && (region[i].epoch % TERMS) < TERMS - 1 && primary[region[i].epoch + 1] == j && region[i].updating &&
			!accepted[region[i].epoch + 1] && !has(refused[region[i].epoch + 1], j) ->
			refused[region[i].epoch + 1] = refused[region[i].epoch + 1] | (1 << j)

		/* i has j's refusal, and acts again. */
		:: j != i && region[i].updating && primary[region[i].epoch + 1] == j && may_take_back(region[i].epoch + 1, j) ->
			region[i].updating = 0;
			withdraw(region[i].epoch + 1)

		/* A quorum makes i the primary of the next generation, and puts j out unless j is i. What i has heard by then is
		   what it could reach. Pending material is carried along, or kept for decryption. */
		:: promotions < APPROVED && region[i].epoch < TERMS && has(region[i].shared.members, i) ->
			promotions++;
			if
			:: j != i -> expelled = expelled | (1 << j); region[i].shared.members = region[i].shared.members & ~(1 << j)
			:: else
			fi;
			e = TERMS;
			primary[e] = i;
			region[i].epoch = e;
			region[i].sequence = 0;
			region[i].updating = 0;
			region[i].shared.current = region[i].current;
			if
			:: region[i].shared.pending != NOTHING ->
#ifdef DESTROY_PENDING
				region[i].held = region[i].held & ~(1 << region[i].shared.pending);
#endif
				region[i].shared.pending = NOTHING
			:: true
			fi;
			region[i].receipts = 0;
			sign(i);
			e = 0; n = 0

		/* i, which acts, takes over a material from j, which has yielded: it decrypts. */
		:: j != i && acts(i) && region[j].epoch == region[i].epoch && (region[j].held & ~region[i].held) &&
			region[i].sequence < SEQUENCES - 1 ->
			region[i].shared.materials = region[i].shared.materials | (region[j].held & ~region[i].held);
			region[i].held = region[i].held | region[j].held;
			change(i);
			n = 0

		:: else
		fi;
		check();
		i = 0; j = 0; n = 0
	}
	od
}
