from setuptools import setup

setup(cffi_modules=["crypto_ext/build.py:ffibuilder"])
