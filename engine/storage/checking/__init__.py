"""Verification of an index to the byte, and the repair that drops what is damaged.

`report` says what was found; `blocks` reads bytes against their checksums; `arrays`, `ids`,
`text` and `duplicates` look at the structure of what is intact; `segments` and `generations` put
them together; `lost` names the documents that go with a segment.
"""

from __future__ import annotations
