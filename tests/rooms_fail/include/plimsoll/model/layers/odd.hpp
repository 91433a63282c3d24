#pragma once
struct Odd
{
    int value = 0;

    static constexpr
        Facts facts(Shape in)
    {
        return {in};
    }
};
