"""A small college: departments, instructors, courses, students and enrollments."""

from __future__ import annotations

from generation.seeds.domains.domain import BundledDomain, Row, TableRows
from generation.seeds.domains.draw import Draw

SCHEMA = """
CREATE TABLE departments (
    department_id INTEGER PRIMARY KEY,
    department_name TEXT NOT NULL,
    building TEXT NOT NULL,
    annual_budget REAL NOT NULL CHECK (annual_budget >= 0)
);
CREATE TABLE instructors (
    instructor_id INTEGER PRIMARY KEY,
    instructor_name TEXT NOT NULL,
    department_id INTEGER NOT NULL REFERENCES departments (department_id),
    email TEXT NOT NULL UNIQUE,
    office_room TEXT NOT NULL
);
CREATE TABLE courses (
    course_id INTEGER PRIMARY KEY,
    course_title TEXT NOT NULL,
    department_id INTEGER NOT NULL REFERENCES departments (department_id),
    instructor_id INTEGER NOT NULL REFERENCES instructors (instructor_id),
    credits INTEGER NOT NULL CHECK (credits BETWEEN 1 AND 6),
    seats INTEGER NOT NULL CHECK (seats > 0),
    term TEXT NOT NULL CHECK (term IN ('spring 2025', 'summer 2025', 'fall 2025'))
);
CREATE TABLE students (
    student_id INTEGER PRIMARY KEY,
    student_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    major TEXT NOT NULL,
    admission_year INTEGER NOT NULL,
    student_status TEXT NOT NULL CHECK (student_status IN ('enrolled', 'on leave', 'graduated'))
);
CREATE TABLE enrollments (
    enrollment_id INTEGER PRIMARY KEY,
    student_id INTEGER NOT NULL REFERENCES students (student_id),
    course_id INTEGER NOT NULL REFERENCES courses (course_id),
    enrollment_status TEXT NOT NULL CHECK (enrollment_status IN ('registered', 'waitlisted', 'completed', 'dropped')),
    grade_points REAL CHECK (grade_points BETWEEN 0 AND 4),
    UNIQUE (student_id, course_id)
);
"""

DEPARTMENTS = ("Biology", "Chemistry", "Economics", "History", "Mathematics", "Music", "Philosophy", "Physics")
BUILDINGS = ("Ashford Hall", "Birch Hall", "Carver Building", "Dalton Center")
LEVELS = ("Introduction to", "Foundations of", "Topics in", "Advanced", "Seminar in")
FIELDS = (
    "Genetics",
    "Statistics",
    "Ethics",
    "Harmony",
    "Optics",
    "Trade",
    "Archives",
    "Logic",
    "Polymers",
    "Algebra",
    "Ecology",
)
TERMS = ("spring 2025", "summer 2025", "fall 2025")


def rows(draw: Draw) -> TableRows:
    home = [1 + number % len(DEPARTMENTS) for number in range(24)]
    teachers = [draw.number(1, 24) for _ in range(40)]
    terms = [draw.pick(TERMS, (3, 1, 3)) for _ in range(40)]
    chosen = [(student, course) for student in range(1, 76) for course in draw.some(range(1, 41), draw.number(2, 4))]
    return {
        "departments": [(name, draw.pick(BUILDINGS), draw.amount(120_000, 900_000, 2_500)) for name in DEPARTMENTS],
        "instructors": [
            (name, department, draw.mail(name), draw.code("?-###"))
            for name, department in zip(draw.people(24), home, strict=True)
        ],
        "courses": [
            (title, home[teacher - 1], teacher, draw.number(2, 5), draw.number(10, 60), term)
            for title, teacher, term in zip(draw.titles(40, LEVELS, FIELDS), teachers, terms, strict=True)
        ],
        "students": [
            (
                name,
                draw.mail(name),
                draw.pick(DEPARTMENTS),
                draw.number(2020, 2024),
                draw.pick(("enrolled", "on leave", "graduated"), (8, 1, 1)),
            )
            for name in draw.people(75)
        ],
        "enrollments": [(student, course, *_result(draw, terms[course - 1])) for student, course in chosen],
    }


def _result(draw: Draw, term: str) -> Row:
    """An enrollment's status and grade: only the spring term is over."""
    if term != "spring 2025":
        return draw.pick(("registered", "waitlisted", "dropped"), (7, 2, 1)), None
    if draw.number(1, 10) == 1:
        return "dropped", None
    return "completed", draw.amount(1.0, 4.0, 0.1)


DOMAIN = BundledDomain(
    "It is a small college and keeps records of departments, instructors, courses, students and enrollments.",
    SCHEMA,
    rows,
)
