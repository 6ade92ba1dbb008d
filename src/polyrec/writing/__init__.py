"""Tables that a language model writes: tags of items, profiles of users."""

from polyrec.writing.item_tags import ItemTags
from polyrec.writing.user_profiles import UserProfiles
from polyrec.writing.writing import Writing

__all__ = [
    "ItemTags",
    "UserProfiles",
    "Writing",
]
