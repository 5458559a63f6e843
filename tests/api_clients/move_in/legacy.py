"""The service that Aegis replaces, in short: FastAPI, Beanie on MongoDB, Argon2 and PyJWT, with its paths and documents."""

from datetime import datetime, timedelta
from typing import Annotated

import argon2
import beanie
import fastapi
import jwt
import pydantic
import pymongo
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm

PREFIX = "/api/v1"
TOKEN_LIFETIME = timedelta(days=7)
hasher = argon2.PasswordHasher()
bearer = OAuth2PasswordBearer(tokenUrl=f"{PREFIX}/auth/login/access-token")


class User(beanie.Document):
    email: Annotated[pydantic.EmailStr, beanie.Indexed(unique=True)]
    username: Annotated[str, beanie.Indexed(unique=True)]
    hashed_password: str
    is_active: bool = True
    # Naive, as the driver writes and reads it.
    created_at: datetime = pydantic.Field(default_factory=datetime.utcnow)

    class Settings:
        name = "users"


class SignUp(pydantic.BaseModel):
    email: pydantic.EmailStr
    username: str
    password: str


def shown(user):
    return {**user.model_dump(exclude={"id", "hashed_password", "revision_id"}), "id": str(user.id)}


async def open_database(url, name):
    client = pymongo.AsyncMongoClient(url)
    await beanie.init_beanie(database=client[name], document_models=[User])
    return client


def application(secret_key):
    app = fastapi.FastAPI()

    @app.post(f"{PREFIX}/auth/signup", status_code=201)
    async def sign_up(new: SignUp):
        if await User.find_one(User.email == new.email):
            raise fastapi.HTTPException(400, "The user with this email already exists in the system.")
        if await User.find_one(User.username == new.username):
            raise fastapi.HTTPException(400, "The user with this username already exists in the system.")
        user = User(email=new.email, username=new.username, hashed_password=hasher.hash(new.password))
        return shown(await user.insert())

    @app.post(f"{PREFIX}/auth/login/access-token")
    async def log_in(form: Annotated[OAuth2PasswordRequestForm, fastapi.Depends()]):
        user = await User.find_one(User.email == form.username)
        try:
            hasher.verify(user.hashed_password if user else "", form.password)
        except (argon2.exceptions.Argon2Error, argon2.exceptions.InvalidHashError):
            raise fastapi.HTTPException(400, "Incorrect email or password")
        if not user.is_active:
            raise fastapi.HTTPException(400, "Inactive user")
        claims = {"exp": datetime.utcnow() + TOKEN_LIFETIME, "sub": str(user.id)}
        return {"access_token": jwt.encode(claims, secret_key, algorithm="HS256"), "token_type": "bearer"}

    @app.get(f"{PREFIX}/users/me")
    async def me(token: Annotated[str, fastapi.Depends(bearer)]):
        claims = jwt.decode(token, secret_key, algorithms=["HS256"])
        return shown(await User.get(claims["sub"]))

    return app
