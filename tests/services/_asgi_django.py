"""A Django project in one file, for test_asgi_servers.py.

As a program it makes the tables, in the schema that $SCHEMA names; with "drop" it drops
that schema.
"""

from __future__ import annotations

import greenio

greenio.monkey_patch()

import os
import sys
from urllib.parse import urlsplit

import django
from django.conf import settings

url = urlsplit(os.environ["DATABASE"])
schema = os.environ["SCHEMA"]
settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="a test's",
    USE_TZ=True,
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path.strip("/"),
            "USER": url.username,
            "PASSWORD": url.password or "",
            "HOST": url.hostname,
            "PORT": url.port,
            "OPTIONS": {"options": f"-c search_path={schema}"},
        }
    },
)
django.setup(set_prefix=False)

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection, models, transaction
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path
from fastapi import FastAPI

from greenio.asgi import WSGIMiddleware


class Item(models.Model):
    name = models.CharField(max_length=50, unique=True)

    class Meta:
        app_label = "greenio_test"


inside = peak = 0


def add(request, name):
    """Add an item in a transaction; names that end in "bad" fail at its end."""
    global inside, peak
    with transaction.atomic():
        item = Item.objects.create(name=name)
        inside += 1
        peak = max(peak, inside)
        with connection.cursor() as cursor:
            cursor.execute("select pg_sleep(0.2)")
        inside -= 1
        if name.endswith("bad"):
            return JsonResponse({}, status=transaction.set_rollback(True) or 409)
    count = request.session["count"] = request.session.get("count", 0) + 1
    return JsonResponse({"id": item.pk, "count": count})


def report(request):
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*) from pg_stat_activity where application_name = %s",
            [schema],
        )
        connections = cursor.fetchone()[0]
    names = sorted(Item.objects.values_list("name", flat=True))
    return JsonResponse({"names": names, "peak": peak, "connections": connections})


def stream(request):
    return StreamingHttpResponse(
        f"{name} " for name in Item.objects.values_list("name", flat=True).iterator()
    )


urlpatterns = [
    path("add/<name>", add),
    path("report", report),
    path("stream", stream),
]
settings.DATABASES["default"]["OPTIONS"]["application_name"] = schema

if __name__ == "__main__":
    with connection.cursor() as cursor:
        if sys.argv[1:] == ["drop"]:
            cursor.execute(f"drop schema {schema} cascade")
        else:
            cursor.execute(f"create schema {schema}")
            call_command("migrate", verbosity=0)
            with connection.schema_editor() as editor:
                editor.create_model(Item)
else:
    mounted = FastAPI()
    mounted.mount("/legacy", WSGIMiddleware(get_wsgi_application()))
