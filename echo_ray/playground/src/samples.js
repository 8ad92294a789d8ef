// A half-finished program per language; the cursor starts where `|>` stands.

import { cpp } from "@codemirror/lang-cpp";
import { go } from "@codemirror/lang-go";
import { java } from "@codemirror/lang-java";
import { javascript } from "@codemirror/lang-javascript";
import { python } from "@codemirror/lang-python";
import { vue } from "@codemirror/lang-vue";

const PYTHON = `"""Word counts of a text file."""

import sys
from collections import Counter
from pathlib import Path


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return [word.strip(".,;:!?").lower() for word in text.split()]


def count(path: Path) -> Counter[str]:
    """How often each word occurs in the file at \`path\`."""
    text = |>


def main() -> None:
    for word, times in count(Path(sys.argv[1])).most_common(10):
        print(f"{times:6} {word}")


if __name__ == "__main__":
    main()
`;

const JAVASCRIPT = `// A small event emitter.

export class Emitter {
  constructor() {
    this.listeners = new Map();
  }

  on(name, listener) {
    const known = this.listeners.get(name) ?? new Set();
    known.add(listener);
    this.listeners.set(name, known);
    return () => this.off(name, listener);
  }

  off(name, listener) {
    |>
  }

  emit(name, ...values) {
    for (const listener of this.listeners.get(name) ?? []) {
      listener(...values);
    }
  }
}
`;

const TYPESCRIPT = `// Items of a shopping basket and their total.

export interface Item {
  name: string;
  priceCents: number;
  count: number;
}

export function total(items: Item[]): number {
  return |>
}

export function cheapest(items: Item[]): Item | undefined {
  let best: Item | undefined;
  for (const item of items) {
    if (best === undefined || item.priceCents < best.priceCents) {
      best = item;
    }
  }
  return best;
}
`;

const GO = `package main

import (
	"bufio"
	"fmt"
	"os"
)

// countLines returns the number of lines in the file at path.
func countLines(path string) (int, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()

	lines := 0
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		|>
	}
	return lines, scanner.Err()
}

func main() {
	lines, err := countLines(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(lines)
}
`;

const JAVA = `import java.util.ArrayDeque;
import java.util.Deque;

/** Whether the brackets of a text are balanced. */
public class Brackets {
    public static boolean balanced(String text) {
        Deque<Character> open = new ArrayDeque<>();
        for (char c : text.toCharArray()) {
            if (c == '(' || c == '[' || c == '{') {
                |>
            } else if (c == ')' || c == ']' || c == '}') {
                if (open.isEmpty() || !matches(open.pop(), c)) {
                    return false;
                }
            }
        }
        return open.isEmpty();
    }

    private static boolean matches(char left, char right) {
        return left == '(' && right == ')' || left == '[' && right == ']' || left == '{' && right == '}';
    }
}
`;

const CPP = `#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

// The median of values; 0 when there are none.
double median(std::vector<double> values) {
    if (values.empty()) {
        return 0;
    }
    std::sort(|>
    const auto middle = values.size() / 2;
    if (values.size() % 2 == 1) {
        return values[middle];
    }
    return (values[middle - 1] + values[middle]) / 2;
}

int main() {
    std::cout << median({3, 1, 2}) << std::endl;
}
`;

const VUE = `<script setup>
import { computed, ref } from "vue";

const tasks = ref([]);
const text = ref("");

const open = computed(() => tasks.value.filter((task) => !task.done));

function add() {
  if (!text.value.trim()) return;
  |>
}
</script>

<template>
  <form @submit.prevent="add">
    <input v-model="text" placeholder="What is to be done?" />
  </form>
  <ul>
    <li v-for="task in open" :key="task.id">{{ task.text }}</li>
  </ul>
</template>
`;

function language(name, file, indent, support, sample) {
  const cursor = sample.indexOf("|>");
  return { name, file, indent, support, text: sample.replace("|>", ""), cursor };
}

/** By the identifier that the service logs. */
export const LANGUAGES = {
  python: language("Python", "main.py", "    ", python, PYTHON),
  javascript: language("JavaScript", "emitter.js", "  ", javascript, JAVASCRIPT),
  typescript: language("TypeScript", "basket.ts", "  ", () => javascript({ typescript: true }), TYPESCRIPT),
  go: language("Go", "main.go", "\t", go, GO),
  java: language("Java", "Brackets.java", "    ", java, JAVA),
  cpp: language("C++", "median.cpp", "    ", cpp, CPP),
  vue: language("Vue", "Tasks.vue", "  ", vue, VUE),
};
