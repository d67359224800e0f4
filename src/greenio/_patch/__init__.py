"""Making the standard library green.

Three kinds of modules live side by side, and everything here keeps them apart:

* The **original** modules, as the interpreter made them. asyncio, uvloop and greenio
  itself run on these, always, whichever was imported first. Once `monkey_patch` has
  changed the live modules, the originals are kept as *views* (`original_modules`).
* The **green** modules, `greenio.green.*`. Each is a standard module with some names
  replaced, or the standard module's own code executed once more with its imports
  pointing at other green modules (`imports`). Nothing of the standard library is
  copied into this package.
* The **live** modules, those in `sys.modules`. `monkey_patch` writes green names into
  them (`monkey`). What somebody bound before stays what it was; what is looked up
  from then on is green.

Which names are replaced where is data: `plans`.
"""
