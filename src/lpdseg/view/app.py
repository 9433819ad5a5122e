"""The viewer's addresses: the page, tiles, and a small JSON interface. Images are asked for by number alone."""

from collections.abc import Awaitable, Callable, Collection
from importlib.resources import files
from threading import Lock
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lpdseg.errors import LpdsegError, OutputError
from lpdseg.plain import plain_values
from lpdseg.view import describing
from lpdseg.view.areas import region_areas
from lpdseg.view.guard import Guard
from lpdseg.view.items import AbsentError
from lpdseg.view.layers import Look, layer_tile
from lpdseg.view.visit import Visit

_MIME = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
}
_KEPT = {"Cache-Control": "private, max-age=3600"}
_AT_ONCE = 36
"""Fields that are computed because somebody looks at them; of a wider view, none."""

Endpoint = Callable[[Request], Awaitable[Response]]
Pixels = Annotated[float, Field(ge=-1e8, le=1e8, allow_inf_nan=False)]
"""A place or length on an image; none is as large."""


class _Drawn(BaseModel):
    """How a layer is drawn, as an address says it."""

    hidden: str = Field("", pattern=r"^(\d{1,3}(,\d{1,3})*)?$", max_length=1024)
    style: Literal["fill", "outline"] = "fill"
    lit: int | None = None


class _Place(BaseModel):
    x: Pixels
    y: Pixels
    read: bool = False


class _Wanted(BaseModel):
    """Which fields are to be computed: those of a box, all, or no more; `look` only asks how far it is."""

    image: int
    box: tuple[Pixels, Pixels, Pixels, Pixels] = (0, 0, 0, 0)
    what: Literal["box", "all", "stop", "look"] = "box"


class _Rank(BaseModel):
    """Images are to be ranked anew, all or those of these numbers, or no more; `look` only asks how far it is."""

    what: Literal["rank", "stop", "look"]
    images: list[int] | None = Field(None, max_length=1_000_000)


class _Region(BaseModel):
    """The whole of an image, or a polygon of it in pixels of the full image; `read`: from results, where there are
    any, and not computed."""

    image: int
    read: bool = False
    polygon: list[tuple[Pixels, Pixels]] | None = Field(None, min_length=3, max_length=10_000)


class _Edit(BaseModel, extra="forbid"):
    name: str | None = None
    merge: str | None = None
    hide: Literal[True] | None = None
    move: str | None = None


class _Edits(BaseModel):
    """Edits that act from now on, None for those that do, and whether they are saved.

    `since` is the version that the page has seen, so that one of two windows does not undo what the other says.
    """

    entries: dict[str, _Edit] | None = Field(None, max_length=10_000)
    save: bool = False
    since: int | None = None


class _Corrections(BaseModel):
    """All corrections, as features of GeoJSON; they are looked at where they are read. `since`: as of `_Edits`."""

    features: list[Any] = Field(max_length=100_000)
    since: int | None = None


def make_app(visit: Visit, hosts: Collection[str], token: str) -> Starlette:
    """The viewer.

    **Arguments:**

    - `hosts`, `token`: see `Guard`, which every request goes through.
    """
    changing = Lock()
    page = {path.name: path.read_bytes() for path in files("lpdseg.view").joinpath("page").iterdir()}

    def show(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in page:
            raise AbsentError("there is no such page")
        return Response(page[name], media_type=_MIME[name[name.rindex(".") :]])

    def picture(request: Request) -> Response:
        at = request.path_params
        found = visit.pictures.tile(at["image"], at["level"], at["column"], at["row"])
        return Response(found, media_type="image/jpeg" if found[:2] == b"\xff\xd8" else "image/png", headers=_KEPT)

    def layer(request: Request) -> Response:
        at = request.path_params
        drawn = _Drawn.model_validate(
            {key: value for key, value in request.query_params.items() if key in _Drawn.model_fields}
        )
        look = Look(frozenset(map(int, filter(None, drawn.hidden.split(",")))), drawn.style == "outline", drawn.lit)
        run, place = visit.run(at["run"]), (at["level"], at["column"], at["row"])
        visit.item(at["image"])
        found = layer_tile(run, at["image"], at["kind"], *place, look, visit.opened.classes)
        return Response(found, media_type="image/png")

    def session(request: Request) -> Response:
        return _json(describing.session(visit))

    def image(request: Request) -> Response:
        return _json(describing.image(visit, request.path_params["image"]))

    def fields(request: Request, wanted: _Wanted) -> Response:
        visit.item(wanted.image)
        if wanted.what == "all":
            visit.ask_all(wanted.image)
        elif wanted.what == "stop":
            visit.stop()
        elif wanted.what == "box":
            visit.ask(wanted.image, wanted.box, _AT_ONCE)
        return _json(visit.described(wanted.image))

    def rank(request: Request, wanted: _Rank) -> Response:
        if wanted.what == "rank":
            visit.rank(wanted.images)
        elif wanted.what == "stop":
            visit.ranking.stop()
        return _json(visit.ranking.described())

    def ranked(request: Request) -> Response:
        return _json(visit.ranking.results())

    def cell(request: Request) -> Response:
        return _json(visit.ranking.cell(request.path_params["truth"], request.path_params["predicted"]))

    def place(request: Request) -> Response:
        at = _Place.model_validate(dict(request.query_params))
        return _json(describing.place(visit, request.path_params["image"], at.x, at.y, at.read))

    def areas(request: Request, region: _Region) -> Response:
        visit.item(region.image)
        return _json([region_areas(run, region.image, region.polygon, region.read) for run in visit.runs])

    def atlas(request: Request) -> Response:
        return _json(visit.atlas.described())

    def region(request: Request) -> Response:
        found = visit.atlas.picture(request.path_params["prototype"], request.path_params["number"])
        return Response(found, media_type="image/png", headers=_KEPT)

    def edit(request: Request, said: _Edits) -> Response:
        with changing:
            _check_seen(said.since, visit.runs[0].version)
            if said.entries is not None:
                visit.edit({key: one.model_dump(exclude_none=True) for key, one in said.entries.items()})
            if said.save:
                visit.editing.save()
        return _json({"run": describing.run_facts(visit.runs[0]), **describing.edits(visit)})

    def correct(request: Request, said: _Corrections) -> Response:
        with changing:
            _check_seen(said.since, visit.drawings.version)
            visit.drawings.save(said.features)
        return _json(describing.corrections(visit))

    tile = "{level:int}/{column:int}/{row:int}"
    routes = [
        Route("/", _answered(show)),
        Route("/page/{name}", _answered(show)),
        Route("/pictures/{image:int}/" + tile, _answered(picture)),
        Route("/layers/{run:int}/{image:int}/{kind}/" + tile, _answered(layer)),
        Route("/api/session", _answered(session)),
        Route("/api/images/{image:int}", _answered(image)),
        Route("/api/images/{image:int}/place", _answered(place)),
        Route("/api/fields", _answered(fields, _Wanted), methods=["POST"]),
        Route("/api/ranking", _answered(rank, _Rank), methods=["POST"]),
        Route("/api/ranking", _answered(ranked)),
        Route("/api/ranking/{truth:int}/{predicted:int}", _answered(cell)),
        Route("/api/atlas", _answered(atlas)),
        Route("/regions/{prototype:int}/{number:int}", _answered(region)),
        Route("/api/edits", _answered(edit, _Edits), methods=["POST"]),
        Route("/api/corrections", _answered(correct, _Corrections), methods=["POST"]),
        Route("/api/areas", _answered(areas, _Region), methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts, token=token)])


def _check_seen(since: int | None, version: int) -> None:
    if since is not None and since != version:
        raise OutputError("another window of this viewer has changed this meanwhile; open the page here again")


def _answered(answer: Callable[..., Response], sent: type[BaseModel] | None = None) -> Endpoint:
    """An endpoint that answers in a thread, given what was `sent` in JSON; what is wrong becomes a sentence."""

    async def endpoint(request: Request) -> Response:
        try:
            given = [] if sent is None else [sent.model_validate_json(await request.body())]
            return await run_in_threadpool(answer, request, *given)
        except AbsentError as error:
            return _json({"error": str(error)}, 404)
        except LpdsegError as error:
            return _json({"error": str(error)}, 422)
        except ValidationError as error:
            return _json({"error": f"this cannot be understood: {error.errors()[0]['msg']}"}, 400)

    return endpoint


def _json(value: Any, status: int = 200) -> Response:
    return JSONResponse(plain_values(value), status)
