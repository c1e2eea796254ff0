"""Names for runs: an adjective and an animal, easy to say and to tell apart."""

from __future__ import annotations

import random

_ADJECTIVES = (
    "able agile alert amber ample arctic azure bold brave breezy bright brisk bronze calm candid "
    "careful cheerful chief civil clear clever cobalt cool copper coral cosmic crafty crimson "
    "crisp curious daring deft devoted eager early earnest easy elegant emerald exact fair "
    "faithful famous fancy fast fearless festive fine firm fleet fluent fond frank free fresh "
    "friendly frosty gallant generous gentle gifted glad golden graceful grand grateful great "
    "handy happy hardy hearty helpful honest humble ideal indigo ivory jade jolly jovial keen "
    "kind lasting lavender light lively loyal lucid lucky lunar magenta major mellow merry mighty "
    "mild modest neat nimble noble novel olive open orange patient peaceful pearl placid playful "
    "plucky polite precise prime prompt proper proud prudent pure quick quiet rapid rare ready "
    "regal robust rosy royal ruby rustic sage sandy scarlet secure sensible serene sharp shiny "
    "silent silver simple sincere sleek smart smooth snowy snug solar solid spry stable stately "
    "steady stellar still stout strong sturdy subtle sunny super sure swift tactful teal tender "
    "thrifty tidy tranquil true trusty upbeat valiant vast velvet violet vivid warm wary wise "
    "witty worthy zealous zesty"
).split()

_ANIMALS = (
    "albatross alpaca ant antelope armadillo badger bat beagle bear beaver bee beetle bison boar "
    "buffalo bustard butterfly buzzard camel capybara caracal caribou cat chamois cheetah "
    "chinchilla cicada civet clam cobra cod condor corgi cougar coyote crab crane cricket crow "
    "cuckoo curlew deer dingo dolphin donkey dormouse dove dragonfly duck eagle echidna eel egret "
    "eland elephant elk emu ermine falcon ferret finch firefly flamingo fox frog gannet gazelle "
    "gecko gibbon giraffe gnu goat goldfinch goose grouse gull hamster hare hawk hedgehog heron "
    "hippo hornet horse hound hummingbird hyena ibex ibis iguana impala jackal jaguar jay kangaroo "
    "kestrel kingfisher kite kiwi koala koi kudu ladybird lapwing lark lemming lemur leopard lion "
    "lizard llama lobster loris lynx macaw magpie mallard manatee mandrill marlin marmot marten "
    "meerkat mink mole mongoose moose moth mouse mule narwhal newt nightingale numbat ocelot "
    "octopus okapi opossum orca oriole oryx osprey ostrich otter owl ox oyster panda panther "
    "parrot partridge pelican penguin petrel pheasant pigeon pika plover pony porcupine porpoise "
    "puffin puma quail quokka rabbit raccoon ram raven reindeer robin rook salmon sandpiper "
    "seahorse seal serval shark sheep shrew skink skylark sloth snail sparrow spider squid "
    "squirrel starfish starling stingray stoat stork swallow swan swift tapir tern tiger toad "
    "toucan trout tuna turtle viper vole wallaby walrus warbler wasp weasel whale wolf wolverine "
    "wombat woodpecker wren yak zebra"
).split()


def random_name(rng: random.Random) -> str:
    """Make up a name such as ``brave-otter``.

    Args:
        rng: Where chance comes from.
    """
    # rng.random() rather than rng.choice(): a third of the time, and it is called per run.
    adjective = _ADJECTIVES[int(rng.random() * len(_ADJECTIVES))]
    return f"{adjective}-{_ANIMALS[int(rng.random() * len(_ANIMALS))]}"


__all__ = ["random_name"]
