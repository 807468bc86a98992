from setuptools import setup

setup(cffi_modules=["crypto_ext/build.py:ffibuilder"], options={"bdist_wheel": {"py_limited_api": "cp311"}})
