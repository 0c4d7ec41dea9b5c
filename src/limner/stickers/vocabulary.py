"""What there is in the Sticker World: nouns, places, times of day, weathers, seasons, colours.

Pure data and light to import. The English names are those that stories use; synonyms were chosen from the keywords of
emojibase-data (MIT) and from fables, nursery rhymes and folk tales. No word means two nouns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

SIZES = ("tiny", "small", "medium", "large", "huge")
PAINTS = ("red", "yellow", "green", "blue", "purple", "pink")


def article(word: str) -> str:
    """The indefinite article by sound."""
    return "an" if (word[0] in "aeiou" and not word.startswith("unicorn")) or word.startswith("hourglass") else "a"


@dataclass(frozen=True)
class Noun:
    """A thing that can be in a picture.

    `where` holds any of `ground`, `indoor`, `sky`, `water` (on the surface) and `deep` (under it). `seat` is the
    height, as a fraction of its own, at which others can stand on it (0: they can't); `holds` the height of its rim
    when others can be inside it; `shelter` tells that others can be under it; `glows` that night doesn't darken it.
    """

    name: str
    plural: str
    category: str
    size: str
    where: frozenset[str]
    synonyms: tuple[str, ...] = ()
    icons: tuple[str, str, str] = ("", "", "")  # in the order of art.STYLES: fluent, line, noto
    colours: tuple[str, ...] = ()
    seat: float = 0.0
    holds: float = 0.0
    shelter: bool = False
    glows: bool = False
    storybook: bool = field(default=False, compare=False)

    @property
    def article(self) -> str:
        return article(self.name)


@dataclass(frozen=True)
class Term:
    """A place, time, weather or season: its label, the phrases captions say it with, and words that mean it."""

    name: str
    phrases: tuple[str, ...]
    synonyms: tuple[str, ...] = ()


_PLURALS = {
    "man": "men", "woman": "women", "child": "children", "mouse": "mice", "goose": "geese", "wolf": "wolves",
    "sheep": "sheep", "deer": "deer", "fish": "fish", "leaf": "leaves", "loaf": "loaves", "knife": "knives",
    "potato": "potatoes", "tomato": "tomatoes", "mosquito": "mosquitoes", "elf": "elves", "scissors": "scissors",
    "glasses": "glasses", "tooth": "teeth", "ox": "oxen", "mango": "mangoes", "volcano": "volcanoes",
    "thief": "thieves", "fireworks": "fireworks", "trousers": "trousers", "stairs": "stairs", "spacecraft": "spacecraft",
}  # fmt: skip


def plural_of(name: str) -> str:
    """The regular plural of a name, or that of the last word before "of", with the irregular ones known."""
    head, of, tail = name.partition(" of ")
    if of:
        return f"{plural_of(head)} of {tail}"
    before, _, last = name.rpartition(" ")
    if last in _PLURALS:
        word = _PLURALS[last]
    elif last.endswith("man"):
        word = last[:-3] + "men"
    elif last.endswith(("s", "x", "ch", "sh", "z")):
        word = last + "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        word = last[:-1] + "ies"
    else:
        word = last + "s"
    return f"{before} {word}".strip()


_WHERE = {"g": "ground", "i": "indoor", "s": "sky", "w": "water", "d": "deep"}


def _noun(
    name: str,
    size: str,
    where: str,
    also: str = "",
    icon: str = "",
    *,
    paint: bool | str = False,
    seat: float = 0.0,
    holds: float = 0.0,
    shelter: bool = False,
    glows: bool = False,
) -> Noun:
    icons = (icon or name.replace(" ", "-")).split("|")
    return Noun(
        name=name,
        plural=plural_of(name),
        category="",
        size={"T": "tiny", "S": "small", "M": "medium", "L": "large", "H": "huge"}[size],
        where=frozenset(_WHERE[letter] for letter in where),
        synonyms=tuple(word.strip() for word in also.split(",") if word.strip()),
        icons=(icons[0], icons[1 % len(icons)], icons[2 % len(icons)]),
        colours=tuple(paint.split()) if isinstance(paint, str) else PAINTS if paint else (),
        seat=seat,
        holds=holds,
        shelter=shelter,
        glows=glows,
    )


_ANIMALS = (
    _noun("fox", "M", "gi", "vixen, reynard, foxes cub"),
    _noun("wolf", "M", "gi", "she-wolf"),
    _noun("lion", "M", "gi", "lioness"),
    _noun("tiger", "M", "gi", "tigress"),
    _noun("leopard", "M", "gi", "panther, cheetah, jaguar"),
    _noun("bear", "M", "gi", "bruin, grizzly, polar bear, white bear"),
    _noun("panda", "M", "gi"),
    _noun("rabbit", "S", "gi", "hare, bunny, coney, cottontail"),
    _noun("cat", "M", "gi", "pussycat, pussy-cat, pussy, kitten, kitty, tomcat, puss, tabby"),
    _noun("black cat", "M", "gi", "witch's cat"),
    _noun("dog", "M", "gi", "hound, puppy, pup, greyhound, mastiff, spaniel"),
    _noun("horse", "L", "g", "mare, stallion, steed, pony, foal, colt, nag", seat=0.55),
    _noun("donkey", "L", "g", "ass, mule, burro", seat=0.62),
    _noun("unicorn", "M", "g"),
    _noun("zebra", "L", "g"),
    _noun("cow", "L", "g", "heifer, calf, cattle", seat=0.72),
    _noun("ox", "L", "g", "bull, bullock, steer, oxen, buffalo, bison", seat=0.8),
    _noun("pig", "M", "gi", "piggy, piggy-wig, piglet, hog, sow, swine", seat=0.85),
    _noun("boar", "M", "g", "wild boar, tusker"),
    _noun("sheep", "M", "g", "lamb, ewe, flock, ram, wether", "ewe"),
    _noun("goat", "M", "g", "kid, billy goat, nanny goat, she-goat"),
    _noun("camel", "L", "g", "dromedary", seat=0.72),
    _noun("giraffe", "L", "g"),
    _noun("elephant", "L", "g", seat=0.95),
    _noun("hippopotamus", "L", "gw", "hippo"),
    _noun("mouse", "S", "gi", "mice, field mouse, town mouse"),
    _noun("rat", "S", "gi"),
    _noun("squirrel", "S", "gi", "chipmunk", "chipmunk"),
    _noun("beaver", "M", "gw"),
    _noun("hedgehog", "S", "gi", "porcupine, urchin"),
    _noun("bat", "S", "s", "flittermouse"),
    _noun("badger", "M", "g", "brock"),
    _noun("otter", "M", "gw", "weasel, ferret, stoat"),
    _noun("kangaroo", "L", "g", "wallaby"),
    _noun("deer", "L", "g", "stag, doe, fawn, hart, hind, roe, reindeer"),
    _noun("monkey", "M", "gi", "ape, baboon"),
    _noun("frog", "S", "giw", "toad, tadpole, bullfrog, natterjack"),
    _noun("tortoise", "M", "giw", "turtle, terrapin", "turtle", seat=0.8),
    _noun("lizard", "S", "gi", "gecko, salamander, newt, chameleon"),
    _noun("snake", "M", "gi", "serpent, viper, adder, python, cobra, asp"),
    _noun("crocodile", "L", "gw", "alligator"),
    _noun("dragon", "L", "g", "wyvern, wyrm, drake"),
    _noun("dinosaur", "L", "g", "brontosaurus, sauropod", "sauropod"),
    _noun("rooster", "M", "gi", "cock, cockerel, chanticleer"),
    _noun("hen", "M", "gi", "chicken, pullet, fowl", "chicken"),
    _noun("chick", "S", "gi", "baby bird, fledgling, nestling", "baby-chick"),
    _noun("bird", "S", "gi", "sparrow, robin, wren, nightingale, swallow, lark, finch, thrush, starling, songbird, linnet", paint=True),
    _noun("crow", "M", "gi", "raven, blackbird, rook, magpie, jackdaw, jay", "blackbird|blackbird|black-bird"),
    _noun("dove", "S", "gs", "pigeon, turtledove"),
    _noun("eagle", "M", "gs", "hawk, falcon, kite bird, vulture, buzzard"),
    _noun("owl", "M", "gi", "owlet, screech owl"),
    _noun("parrot", "S", "gi", "parakeet, cockatoo, macaw"),
    _noun("peacock", "L", "g", "peahen, peafowl"),
    _noun("turkey", "M", "g", "gobbler"),
    _noun("goose", "M", "gw", "gander, gosling"),
    _noun("duck", "M", "gw", "drake duck, mallard, duckling"),
    _noun("swan", "M", "gw", "cygnet"),
    _noun("flamingo", "L", "gw", "stork, crane, heron, ibis"),
    _noun("penguin", "M", "g"),
    _noun("whale", "L", "wd", "leviathan"),
    _noun("dolphin", "L", "wd", "porpoise"),
    _noun("seal", "M", "gwd", "sea lion, walrus, selkie"),
    _noun("fish", "M", "wd", "trout, salmon, carp, herring, cod, pike, minnow, flounder, perch", paint=True),
    _noun("shark", "L", "wd"),
    _noun("octopus", "M", "d", "kraken, cuttlefish"),
    _noun("jellyfish", "M", "d", "medusa"),
    _noun("shell", "T", "gd", "seashell, conch, cockle", "spiral-shell"),
    _noun("crab", "S", "gd"),
    _noun("snail", "S", "gi", "slug"),
    _noun("butterfly", "S", "s", "moth"),
    _noun("caterpillar", "S", "gi", "maggot, grub", "bug"),
    _noun("ant", "S", "gi", "emmet, pismire"),
    _noun("bee", "S", "s", "honeybee, bumblebee, wasp, hornet", "honeybee"),
    _noun("beetle", "S", "gi", "scarab"),
    _noun("grasshopper", "S", "gi", "cricket, locust, cicada", "cricket"),
    _noun("spider", "S", "gi", "tarantula"),
    _noun("fly", "T", "s", "housefly, bluebottle"),
    _noun("worm", "T", "gi", "earthworm"),
)  # fmt: skip

_PEOPLE = (
    _noun("baby", "S", "gi", "infant, newborn, babe"),
    _noun("boy", "M", "gi", "lad, son, brother, schoolboy, child"),
    _noun("girl", "M", "gi", "lass, daughter, sister, maid, maiden, schoolgirl"),
    _noun("man", "M", "gi", "father, husband, gentleman, fellow, merchant, woodcutter, woodman, tailor, miller, neighbour, neighbor, stranger"),
    _noun("woman", "M", "gi", "mother, wife, lady, aunt, stepmother, widow, milkmaid"),
    _noun("old man", "M", "gi", "grandfather, grandpa, beggar, hermit, graybeard, greybeard"),
    _noun("old woman", "M", "gi", "grandmother, grandma, granny, crone, dame"),
    _noun("king", "M", "gi", "emperor, monarch, sultan, ruler, lord, tsar", "person-with-crown"),
    _noun("prince", "M", "gi", "young king"),
    _noun("princess", "M", "gi", "queen, empress"),
    _noun("guard", "M", "gi", "soldier, sentry, sentinel, policeman, officer, constable", "man-guard"),
    _noun("farmer", "M", "gi", "shepherd, peasant, ploughman, gardener, husbandman, goatherd", "man-farmer"),
    _noun("cook", "M", "gi", "baker, chef", "man-cook"),
    _noun("wizard", "M", "gi", "sorcerer, magician, merlin, mage", "man-mage"),
    _noun("witch", "M", "gi", "sorceress, enchantress, hag", "woman-mage"),
    _noun("fairy", "M", "gis", "pixie, sprite, fay, godmother, nymph", "woman-fairy"),
    _noun("mermaid", "M", "wd", "siren, little mermaid", "woman-merpeople|woman-merpeople|mermaid"),
    _noun("elf", "M", "gi", "dwarf, gnome, goblin, imp, brownie, leprechaun", "man-elf"),
    _noun("father christmas", "M", "gi", "santa claus, santa, saint nicholas", "santa-claus"),
    _noun("angel", "M", "gis", "cherub, seraph", "baby-angel"),
    _noun("thief", "M", "gi", "robber, burglar, ninja, bandit", "ninja"),
    _noun("astronaut", "M", "gi", "spaceman, cosmonaut", "man-astronaut"),
    _noun("captain", "M", "gi", "sailor, pilot, fisherman, skipper, mariner", "man-pilot"),
    _noun("doctor", "M", "gi", "physician, surgeon, nurse", "man-health-worker"),
    _noun("scholar", "M", "gi", "student, graduate, philosopher, judge, priest, parson", "man-student"),
    _noun("singer", "M", "gi", "musician, minstrel, piper, bard, fiddler", "man-singer"),
    _noun("bride", "M", "gi", "newlywed", "woman-with-veil"),
    _noun("rider", "L", "g", "horseman, knight, jockey, cavalier", "horse-racing"),
    _noun("clown", "M", "gi", "jester, fool, buffoon", "clown-face"),
    _noun("snowman", "M", "g", "snow man", "snowman-without-snow"),
    _noun("robot", "M", "gi", "automaton, machine"),
    _noun("ghost", "M", "gis", "spirit, phantom, spectre", glows=True),
    _noun("ogre", "M", "gi", "monster, demon, devil, fiend"),
    _noun("troll", "M", "gi", "giant"),
    _noun("skull", "S", "gi", "skeleton, death"),
)  # fmt: skip

_PLANTS = (
    _noun("tree", "H", "g", "bong-tree, oak, elm, beech, willow, ash tree, lime tree, apple tree", "deciduous-tree", shelter=True, seat=0.94),
    _noun("pine tree", "H", "g", "pine, fir, fir tree, spruce, evergreen", "evergreen-tree", shelter=True, seat=0.96),
    _noun("palm tree", "H", "g", "palm, date palm", "palm-tree", shelter=True),
    _noun("cactus", "M", "g"),
    _noun("potted plant", "S", "gi", "houseplant, plant"),
    _noun("herb", "S", "gi", "parsley, sage, thyme, grass, fern, weed"),
    _noun("leaf", "T", "gi", "leaves, foliage", "maple-leaf", paint="red yellow green"),
    _noun("rose", "S", "gi", "rosebud, briar", paint="red yellow pink blue purple white"),
    _noun("tulip", "S", "gi", "lily, crocus, daffodil, snowdrop", paint="red yellow pink blue purple white"),
    _noun("sunflower", "M", "gi", "marigold"),
    _noun("flower", "S", "gi", "daisy, blossom, buttercup, bloom, primrose", "blossom", paint="red yellow pink blue purple white"),
    _noun("bunch of flowers", "M", "gi", "bouquet, nosegay, posy", "bouquet"),
    _noun("mushroom", "S", "gi", "toadstool, fungus"),
    _noun("ear of corn", "S", "gi", "corn, maize, grain", "ear-of-corn"),
    _noun("sheaf of wheat", "M", "g", "wheat, barley, sheaf, rye, straw, hay", "sheaf-of-rice"),
    _noun("log", "M", "gi", "firewood, trunk, stump, timber", "wood", seat=0.9),
    _noun("stone", "M", "gi", "rock, boulder, pebble", "rock", seat=0.85),
    _noun("nest", "S", "g", "bird's nest", "empty-nest", holds=0.45),
    _noun("coral", "M", "d", "reef, seaweed"),
    _noun("feather", "S", "gi", "quill, plume"),
)  # fmt: skip

_FOOD = (
    _noun("bunch of grapes", "S", "gi", "grapes, grape, vine", "grapes"),
    _noun("orange", "S", "gi", "tangerine, mandarin", "tangerine"),
    _noun("lemon", "S", "gi"),
    _noun("banana", "S", "gi"),
    _noun("pineapple", "S", "gi"),
    _noun("apple", "S", "gi", "crab apple", "red-apple", paint="red yellow green"),
    _noun("pear", "S", "gi", "quince"),
    _noun("peach", "S", "gi", "apricot, plum"),
    _noun("bunch of cherries", "S", "gi", "cherries, cherry", "cherries"),
    _noun("strawberry", "S", "gi", "raspberry"),
    _noun("potato", "S", "gi"),
    _noun("carrot", "S", "gi", "turnip, parsnip, root"),
    _noun("cabbage", "S", "gi", "lettuce, kale", "leafy-green"),
    _noun("pumpkin", "M", "gi", "jack-o-lantern, gourd", "jack-o-lantern"),
    _noun("loaf of bread", "S", "gi", "bread, loaf, toast, crust", "bread"),
    _noun("piece of cheese", "S", "gi", "cheese", "cheese-wedge"),
    _noun("piece of meat", "S", "gi", "meat, mince, mutton, beef, ham, joint", "meat-on-bone"),
    _noun("pie", "S", "gi", "tart, pudding"),
    _noun("cake", "S", "gi", "birthday cake, gingerbread, cookie, biscuit, pancake, pastry", "birthday-cake"),
    _noun("sweet", "T", "gi", "candy, bonbon, sugarplum", "candy"),
    _noun("honey pot", "S", "gi", "honey, honeycomb, jam, treacle", "honey-pot"),
    _noun("egg", "S", "gi", paint=False),
    _noun("bowl of soup", "S", "gi", "soup, porridge, broth, stew, gruel", "steaming-bowl"),
    _noun("glass of milk", "S", "gi", "milk, cream", "glass-of-milk"),
    _noun("cup of tea", "S", "gi", "tea, cup, coffee, mug", "hot-beverage"),
)  # fmt: skip

_THINGS = (
    _noun("spoon", "S", "gi", "runcible spoon, ladle"),
    _noun("knife", "S", "gi", "blade", "kitchen-knife"),
    _noun("pot", "M", "gi", "cauldron, pitcher, kettle, pan", "pot-of-food", holds=0.55),
    _noun("teapot", "S", "gi"),
    _noun("urn", "M", "gi", "amphora, jug, vase, ewer", "amphora"),
    _noun("bucket", "M", "gi", "pail, tub", paint=True, holds=0.6),
    _noun("basket", "M", "gi", "hamper, pannier", holds=0.55),
    _noun("candle", "S", "gi", "taper", glows=True),
    _noun("oil lamp", "S", "gi", "lamp, magic lamp", "diya-lamp", glows=True),
    _noun("lantern", "S", "gi", "paper lantern", "red-paper-lantern", glows=True, paint="red yellow green blue purple"),
    _noun("book", "S", "gi", "tome, volume, storybook, open book, bible, page", "closed-book", paint=True),
    _noun("scroll", "S", "gi", "parchment, decree, poem"),
    _noun("letter", "S", "gi", "envelope, message, mail, love letter, newspaper", "envelope"),
    _noun("pencil", "S", "gi"),
    _noun("brush", "S", "gi", "paintbrush", "paintbrush"),
    _noun("pair of scissors", "S", "gi", "scissors, shears", "scissors"),
    _noun("key", "S", "gi", "latchkey", "old-key"),
    _noun("hammer", "S", "gi", "mallet"),
    _noun("axe", "M", "gi", "ax, hatchet"),
    _noun("pickaxe", "M", "gi", "spade, shovel, hoe", "pick"),
    _noun("sword", "M", "gi", "dagger, sabre", "dagger"),
    _noun("bow", "M", "gi", "arrow, bow and arrow, archer", "bow-and-arrow"),
    _noun("shield", "M", "gi", "buckler"),
    _noun("ladder", "L", "gi", "steps"),
    _noun("pair of scales", "M", "gi", "scales, scale, balance", "balance-scale"),
    _noun("magic wand", "S", "gi", "wand"),
    _noun("crystal ball", "S", "gi", "fortune-teller"),
    _noun("telescope", "M", "gi", "spyglass"),
    _noun("map", "M", "gi", "chart", "world-map"),
    _noun("hourglass", "S", "gi", "sandglass", "hourglass-done"),
    _noun("clock", "S", "gi", "mantelpiece clock, timepiece, watch, alarm clock", "mantelpiece-clock"),
    _noun("bell", "S", "gi", "chime"),
    _noun("drum", "M", "gi", "tambour"),
    _noun("guitar", "M", "gi", "small guitar, lute, lyre, harp, banjo, mandolin", paint=True),
    _noun("fiddle", "M", "gi", "violin, viola", "violin"),
    _noun("trumpet", "M", "gi", "bugle, horn"),
    _noun("flute", "S", "gi", "pipe, whistle, recorder"),
    _noun("crown", "S", "gi", "diadem, coronet, tiara"),
    _noun("ring", "S", "gi", "wedding ring"),
    _noun("jewel", "S", "gi", "gem, diamond, emerald, ruby, pearl, gem stone", "gem-stone", paint=True),
    _noun("coin", "T", "gi", "penny, farthing, shilling, gold piece"),
    _noun("money bag", "M", "gi", "money, gold, treasure, riches, wealth, fortune, purse, wallet", "money-bag"),
    _noun("banknote", "S", "gi", "five-pound note, pound note, bill", "pound-banknote"),
    _noun("hat", "S", "gi", "top hat, cap, bonnet, straw hat", "top-hat"),
    _noun("coat", "M", "gi", "cloak, jacket, mantle"),
    _noun("dress", "M", "gi", "gown, frock, robe", paint=True),
    _noun("shirt", "M", "gi", "t-shirt, tunic", "t-shirt", paint=True),
    _noun("shoe", "S", "gi", "slipper, clog, sandal, boot", "mans-shoe"),
    _noun("red shoe", "S", "gi", "glass slipper, high heel", "high-heeled-shoe"),
    _noun("ribbon", "S", "gi", "bow tie, sash"),
    _noun("umbrella", "M", "gi", "parasol", paint=True),
    _noun("beach umbrella", "L", "g", "sunshade", "umbrella-on-ground", shelter=True),
    _noun("bag", "M", "gi", "handbag, satchel, sack, backpack, knapsack", "handbag"),
    _noun("broom", "M", "gi", "broomstick, besom"),
    _noun("spool of thread", "S", "gi", "thread, yarn, spindle, spool", "thread"),
    _noun("ball of wool", "S", "gi", "wool, skein", "yarn", paint=True),
    _noun("needle", "S", "gi", "pin, sewing needle", "sewing-needle"),
    _noun("gift", "M", "gi", "present, parcel", "wrapped-gift"),
    _noun("box", "M", "gi", "chest, crate, case", "package", seat=0.8),
    _noun("balloon", "M", "s", "", "balloon", paint=True),
    _noun("ball", "S", "gi", "football, soccer ball", "soccer-ball"),
    _noun("kite", "M", "s"),
    _noun("teddy bear", "M", "gi", "toy, stuffed animal"),
    _noun("doll", "M", "gi", "nesting doll, puppet", "nesting-dolls"),
    _noun("picture", "M", "i", "painting, portrait, framed picture", "framed-picture"),
    _noun("bone", "S", "gi", "knuckle"),
    _noun("anchor", "M", "gid"),
    _noun("fishing rod", "M", "g", "rod, fishing pole, hook and line", "fishing-pole"),
    _noun("wheel", "M", "gi", "spinning wheel", "wheel"),
    _noun("sledge", "M", "g", "sled, sleigh, toboggan", "sled", seat=0.45),
    _noun("flag", "M", "g", "banner, pennant", "triangular-flag", paint=True),
    _noun("gravestone", "M", "g", "grave, tomb, tombstone", "headstone"),
    _noun("heart", "S", "gis", "love, valentine heart", "red-heart", paint=True),
    _noun("broken heart", "S", "gis", "heartbreak, grief"),
    _noun("fire", "M", "g", "flame, bonfire, hearth, campfire, blaze", glows=True),
    _noun("cobweb", "M", "gi", "spider web, spider's web, web, net", "spider-web"),
)  # fmt: skip

_VEHICLES = (
    _noun("boat", "H", "w", "sailboat, pea-green boat, sailing boat, yacht, ferry, ark", "sailboat", paint=True, holds=0.3),
    _noun("rowing boat", "H", "w", "canoe, rowboat, dinghy, raft", "canoe", holds=0.5),
    _noun("ship", "H", "w", "vessel, galleon, steamer, liner"),
    _noun("car", "L", "g", "automobile, motorcar", "automobile", paint=True, seat=0.93),
    _noun("truck", "L", "g", "lorry, wagon, cart, van", "pickup-truck", paint=True, holds=0.5),
    _noun("bus", "L", "g", "omnibus, coach, carriage", paint=True, seat=0.97),
    _noun("train", "L", "g", "locomotive, steam engine, railway", "locomotive"),
    _noun("aeroplane", "L", "s", "airplane, plane, aircraft", "small-airplane", paint="red yellow green blue purple"),
    _noun("rocket", "L", "s", "spaceship"),
)  # fmt: skip

_BUILDINGS = (
    _noun("house", "H", "g", "home, cottage, farmhouse, inn, cabin", "house", seat=0.97),
    _noun("hut", "H", "g", "hovel, shack, barn, shed", seat=0.97),
    _noun("castle", "H", "g", "palace, fortress, tower"),
    _noun("church", "H", "g", "chapel, cathedral, abbey"),
    _noun("temple", "H", "g", "parthenon, court", "classical-building"),
    _noun("school", "H", "g", "schoolhouse"),
    _noun("tent", "L", "g", "camp", "tent"),
    _noun("merry-go-round", "L", "g", "carousel, rocking horse", "carousel-horse"),
    _noun("fountain", "L", "g", "well, spring water"),
    _noun("volcano", "H", "g"),
    _noun("island", "H", "w", "desert island", "desert-island"),
)  # fmt: skip

_FURNITURE = (
    _noun("bed", "L", "i", "cradle, cot, couch bed", seat=0.62),
    _noun("chair", "M", "i", "stool, seat, throne, armchair, bench", seat=0.45),
    _noun("door", "L", "i", "gate, doorway"),
    _noun("bathtub", "L", "i", "bath", holds=0.5),
    _noun("mirror", "M", "i", "looking-glass, looking glass"),
)  # fmt: skip

_SKY = (
    _noun("sun", "M", "s", "sunshine", glows=True),
    _noun("moon", "M", "s", "moonlight, crescent, full moon", "crescent-moon", glows=True),
    _noun("star", "S", "s", "starlight, evening star", glows=True),
    _noun("shooting star", "M", "s", "comet, meteor", "comet", glows=True),
    _noun("cloud", "M", "s", "thundercloud, rain cloud, storm cloud"),
    _noun("rainbow", "L", "s", glows=True),
    _noun("snowflake", "S", "s", "frost, ice crystal"),
    _noun("flash of lightning", "M", "s", "lightning, thunder, thunderbolt, bolt", "high-voltage", glows=True),
)  # fmt: skip

_FEELINGS = (
    _noun("happy face", "S", "gi", "smile, joy, happy, smiley, happiness, laughter, laugh, grin", "smiling-face-with-smiling-eyes"),
    _noun("sad face", "S", "gi", "sadness, sorrow, sad, gloom", "frowning-face"),
    _noun("crying face", "S", "gi", "tears, weeping, crying", "loudly-crying-face"),
    _noun("angry face", "S", "gi", "anger, rage, angry, fury, wrath", "pouting-face"),
    _noun("frightened face", "S", "gi", "fear, fright, terror, afraid, scared", "fearful-face"),
    _noun("sleeping face", "S", "gi", "sleep, asleep, dream, sleepy", "sleeping-face"),
    _noun("surprised face", "S", "gi", "surprise, wonder, amazement, surprised, astonishment", "astonished-face"),
)  # fmt: skip

_CATEGORIES = {
    "animal": _ANIMALS,
    "person": _PEOPLE,
    "plant": _PLANTS,
    "food": _FOOD,
    "thing": _THINGS,
    "vehicle": _VEHICLES,
    "building": _BUILDINGS,
    "furniture": _FURNITURE,
    "sky": _SKY,
    "feeling": _FEELINGS,
}

# What fables, nursery rhymes and folk tales talk about most: the storybook model is trained on these.
_STORYBOOK = frozenset(
    name.replace("_", " ")
    for name in [
        "fox",
        "wolf",
        "lion",
        "bear",
        "rabbit",
        "cat",
        "dog",
        "donkey",
        "horse",
        "cow",
        "pig",
        "sheep",
        "goat",
        "elephant",
        "mouse",
        "deer",
        "monkey",
        "frog",
        "tortoise",
        "snake",
        "rooster",
        "hen",
        "bird",
        "crow",
        "owl",
        "turkey",
        "duck",
        "swan",
        "fish",
        "butterfly",
        "ant",
        "bee",
        "grasshopper",
        "spider",
        "boy",
        "girl",
        "man",
        "woman",
        "old_man",
        "old_woman",
        "king",
        "prince",
        "princess",
        "wizard",
        "witch",
        "fairy",
        "mermaid",
        "dragon",
        "tree",
        "pine_tree",
        "palm_tree",
        "rose",
        "flower",
        "mushroom",
        "bunch_of_grapes",
        "apple",
        "loaf_of_bread",
        "piece_of_cheese",
        "cake",
        "honey_pot",
        "egg",
        "basket",
        "candle",
        "book",
        "key",
        "axe",
        "sword",
        "bell",
        "guitar",
        "crown",
        "ring",
        "coin",
        "banknote",
        "gift",
        "ball",
        "heart",
        "fire",
        "boat",
        "ship",
        "house",
        "hut",
        "castle",
        "bed",
        "chair",
        "door",
        "sun",
        "moon",
        "star",
        "cloud",
        "rainbow",
    ]
)


@cache
def nouns() -> tuple[Noun, ...]:
    """Every noun, in an order that never changes: a noun's number in class maps is its place here."""
    return tuple(
        Noun(**{**noun.__dict__, "category": category, "storybook": noun.name in _STORYBOOK})
        for category, members in _CATEGORIES.items()
        for noun in members
    )


@cache
def storybook_nouns() -> tuple[Noun, ...]:
    """The nouns that stories use most."""
    return tuple(noun for noun in nouns() if noun.storybook)


@cache
def noun(name: str) -> Noun:
    """The noun of exactly this name; `KeyError` if there is none."""
    return {noun.name: noun for noun in nouns()}[name]


COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black", "brown")

PLACES = (
    Term("meadow", ("in a meadow", "on a green meadow", "in the grass"), ("field", "pasture", "hill", "hills", "hillside", "plain", "countryside", "grassland")),
    Term("forest", ("in a forest", "in the woods", "among forest trees"), ("wood", "woods", "woodland", "jungle", "thicket", "grove")),
    Term("garden", ("in a garden", "in the flower garden"), ("park", "orchard", "yard", "vineyard", "lawn")),
    Term("farm", ("on a farm", "by the farm fields"), ("barnyard", "farmyard", "ranch", "ploughed field", "stable")),
    Term("village", ("in a village", "by the village houses"), ("hamlet", "street", "road", "lane", "market")),
    Term("town", ("in a town", "in the city"), ("city", "square", "capital", "downtown")),
    Term("mountains", ("in the mountains", "below high mountains"), ("mountain", "cliff", "peak", "valley", "summit", "crag", "alps")),
    Term("desert", ("in a desert", "among sand dunes"), ("dunes", "dune", "sahara", "wasteland", "wilderness")),
    Term("beach", ("on a beach", "on the sand by the sea"), ("shore", "seashore", "coast", "seaside", "sand", "strand")),
    Term("sea", ("on the sea", "out at sea"), ("ocean", "waves", "water", "deep sea")),
    Term("lake", ("at a lake", "by the lake"), ("river", "pond", "stream", "brook", "riverside", "bank")),
    Term("underwater", ("under water", "at the bottom of the sea"), ("seabed", "bottom of the sea", "below the waves")),
    Term("room", ("in a room", "indoors"), ("kitchen", "bedroom", "chamber", "hall", "parlour", "indoors", "inside", "hearthside")),
    Term("cave", ("in a cave", "in a dark cave"), ("cavern", "den", "lair", "grotto", "mine", "dungeon", "hole", "cellar")),
    Term("space", ("in space", "on a far planet"), ("outer space", "universe", "cosmos", "galaxy")),
    Term("snow", ("in the snow", "on a snow field"), ("snow field", "north pole", "arctic", "ice", "glacier")),
)  # fmt: skip

TIMES = (
    Term("day", ("by day", "in the daytime"), ("daytime", "noon", "morning", "midday", "afternoon", "daylight")),
    Term("dusk", ("at dusk", "at sunset"), ("sunset", "evening", "twilight", "sunrise", "dawn", "nightfall")),
    Term("night", ("at night", "by night"), ("midnight", "nighttime", "night-time", "darkness", "dark")),
)

WEATHERS = (
    Term("clear", ("clear sky", "fine weather"), ("sunny", "fine", "bright", "fair")),
    Term("cloudy", ("cloudy", "under a grey sky"), ("clouds", "overcast", "grey sky", "gray sky")),
    Term("rain", ("in the rain", "rain"), ("rainy", "raining", "storm", "stormy", "wet", "drizzle")),
    Term("snowfall", ("snow falling", "in falling snow"), ("snowing", "snowy", "blizzard", "snowstorm")),
    Term("fog", ("in the fog", "fog"), ("foggy", "mist", "misty", "haze")),
)

SEASONS = (
    Term("spring", ("in spring", "spring"), ("springtime", "april", "may")),
    Term("summer", ("in summer", "summer"), ("summertime", "june", "july", "august")),
    Term("autumn", ("in autumn", "autumn"), ("fall", "october", "november", "harvest")),
    Term("winter", ("in winter", "winter"), ("wintertime", "december", "january", "christmas")),
)


def _forms(noun: Noun) -> set[str]:
    words = {noun.name, noun.plural}
    for synonym in noun.synonyms:
        words |= {synonym, plural_of(synonym)}
    return words


@cache
def _by_word() -> dict[str, Noun]:
    table: dict[str, Noun] = {}
    for noun in nouns():
        for word in (*noun.synonyms, *map(plural_of, noun.synonyms)):
            table.setdefault(word, noun)
    for noun in nouns():  # a noun's own name wins over another's synonym
        table[noun.plural] = noun
        table[noun.name] = noun
    return table


def lookup(word: str) -> Noun | None:
    """The noun that a word or short phrase means, in any case, singular or plural; `None` if there is none."""
    return _by_word().get(" ".join(word.lower().split()))


def lookup_term(word: str, terms: tuple[Term, ...]) -> Term | None:
    """The place, time, weather or season that a word means, out of `PLACES`, `TIMES`, `WEATHERS` or `SEASONS`."""
    word = " ".join(word.lower().split())
    for term in terms:
        if word == term.name or word in term.synonyms or word in term.phrases:
            return term
    return None
