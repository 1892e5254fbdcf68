"""Where things are in a numbered picture: one geometry for drawing and for reading, in Python and in the browser.

All positions are in units `u` of a twelfth of the picture's height, so that a bigger picture has bigger cells: 20 px at
320x240, where a blur of radius 9 still leaves the middle of a cell its own colour. Only the checkerboard has a fixed
size in pixels, because effects are in pixels too.
"""

from dataclasses import dataclass
from typing import Any

CODE_COLUMNS, CODE_ROWS = 8, 4
SYNC_CELLS = {(0, 0): 1, (0, 1): 0, (0, 2): 1, (0, 3): 1, (7, 0): 0, (7, 1): 1, (7, 2): 0, (7, 3): 0}
"""(column, row) -> white (1) or black (0): the first and the last column, which give the threshold and the position."""

NUMBER_BITS, CHECK_BITS = 16, 8
CHECKER_CELL_PIXELS = 4

BLACK, WHITE, GROUND = (16, 16, 16), (235, 235, 235), (110, 110, 110)
PATCH_COLOURS = {"red": (210, 50, 50), "green": (50, 180, 60), "blue": (50, 70, 210), "gray": (128, 128, 128)}

_CODE_ORIGIN = (1.0, 1.0)
_DIGITS = (1.0, 5.5, 8.0, 3.5)
_CHECKER = (10.0, 1.0, 4.0, 3.0)
_PATCHES = {
    "red": (10.0, 5.0, 2.0, 2.0),
    "green": (12.0, 5.0, 2.0, 2.0),
    "blue": (10.0, 7.0, 2.0, 2.0),
    "gray": (12.0, 7.0, 2.0, 2.0),
}


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def inner(self, share: float) -> "Box":
        """The middle part that keeps `share` of each side, where neighbours do not bleed in."""
        x = round((self.right - self.left) * (1 - share) / 2)
        y = round((self.bottom - self.top) * (1 - share) / 2)
        return Box(self.left + x, self.top + y, self.right - x, self.bottom - y)

    def moved(self, dx: int, dy: int) -> "Box":
        """The same rectangle dx pixels to the right and dy down."""
        return Box(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)


@dataclass(frozen=True)
class Layout:
    """The geometry for one picture size in pixels."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.height < 192 or self.height % 2 or self.width % 2 or self.width * 12 < self.height * 16:
            raise ValueError(
                f"picture size {self.width}x{self.height}: needs even sides, height >= 192 and at least 4:3"
            )

    @property
    def unit(self) -> float:
        """A twelfth of the height, in pixels."""
        return self.height / 12

    def _box(self, x: float, y: float, width: float, height: float) -> Box:
        u = self.unit
        return Box(round(x * u), round(y * u), round((x + width) * u), round((y + height) * u))

    def cell(self, column: int, row: int) -> Box:
        """One cell of the block code."""
        return self._box(_CODE_ORIGIN[0] + column, _CODE_ORIGIN[1] + row, 1, 1)

    @property
    def digits(self) -> Box:
        """Where people read the number."""
        return self._box(*_DIGITS)

    @property
    def checker(self) -> Box:
        """The fine checkerboard whose contrast a blur kills."""
        return self._box(*_CHECKER)

    def patch(self, name: str) -> Box:
        """A patch of known colour: red, green, blue or gray."""
        return self._box(*_PATCHES[name])

    def as_json(self) -> dict[str, Any]:
        """What the browser page needs to read the same marks."""
        cells = [[column, row] for row in range(CODE_ROWS) for column in range(1, CODE_COLUMNS - 1)]
        return {
            "width": self.width,
            "height": self.height,
            "unit": self.unit,
            "origin": list(_CODE_ORIGIN),
            "dataCells": cells,
            "syncCells": [[column, row, bit] for (column, row), bit in SYNC_CELLS.items()],
            "checker": list(_CHECKER),
            "patches": {name: list(box) for name, box in _PATCHES.items()},
            "numberBits": NUMBER_BITS,
            "checkBits": CHECK_BITS,
        }


DATA_CELLS = [(column, row) for row in range(CODE_ROWS) for column in range(1, CODE_COLUMNS - 1)]
"""The 24 cells of the number and its check sum, most significant bit first, row by row."""
